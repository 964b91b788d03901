"""Is this a good photo to speak from? Measured values, and words a person can act on where one is
off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
from orchestrator.rendering.landmarks import FACE_OVAL, LOWER_LIP_OUTER, UPPER_LIP_OUTER

LIPS_OUTLINE: Final = (*UPPER_LIP_OUTER, *LOWER_LIP_OUTER[-2:0:-1])
"""Mesh points around the lips."""

_LEVEL_PAIRS: Final = ((234, 454), (33, 263), (61, 291))
_EYES: Final = ((159, 145, 33, 133), (386, 374, 263, 362))
_TOP, _CHIN, _UPPER_LIP, _LOWER_LIP, _LEFT_CORNER, _RIGHT_CORNER = 10, 152, 13, 14, 61, 291

LEVEL_PITCH_DEG: Final = 12.5
"""Pitch that the mesh's depths show for a level face: 12.7 measured on scikit-image's astronaut,
12.5 on the drawn demo portrait.
"""

_FACE_WIDTH: Final = 128
"""Light and sharpness are measured on a face scaled to this width in pixels, so that a photo's size
does not count.
"""


@dataclass(frozen=True, slots=True)
class Measurements:
    """What the checks look at."""

    face_height_px: float
    """Topmost mesh point to chin, in pixels of the photo."""
    uncovered: float
    """Share of the square around the head that the photo does not show, 0..1."""
    sharpness: float
    """Variance of the Laplacian over the variance of the luma inside the face oval."""
    brightness: float
    """Median luma inside the face oval, 0..255."""
    contrast: float
    """95th minus 5th percentile of that luma."""
    lip_detail: float
    """Mean vertical gradient between the lips' outlines, over `contrast`; next to nothing when
    something covers the mouth.
    """
    yaw_deg: float
    """Turned to the side: positive is towards the picture's right."""
    pitch_deg: float
    """Chin up is positive."""
    mouth_open: float
    """Gap between the lips over the mouth's width."""
    eyes_open: float
    """Gap between the lids over the eye's width, mean of both eyes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a photo: a code for programs, a sentence for people, and the value it rests
    on.
    """

    code: str
    message: str
    measured: float | str


@dataclass(frozen=True, slots=True)
class _Check:
    """Below `refuse_below` or above `refuse_above` the photo is refused; between that and the
    `warn` limits it is worse, not useless.
    """

    code: str
    message: str
    value: str
    refuse: float
    warn: float
    penalty: float
    """Points off the score at the refusal limit, growing evenly from the warning limit on."""


# A limit is 'low' where refuse < warn, 'high' otherwise. Each limit lies well outside what good
# photos showed: scikit-image's astronaut and its blurred, darkened, bleached, compressed and
# covered variants.
_CHECKS: Final = (
    _Check(
        "FACE_TOO_SMALL",
        "the face takes up few pixels: move closer, or send a larger photo",
        "face_height_px",
        80.0,
        220.0,
        20.0,
    ),
    _Check(
        "BLURRED",
        "the face is not sharp: hold still, wipe the lens, focus on the face",
        "sharpness",
        0.004,
        0.02,
        25.0,
    ),
    _Check(
        "TOO_DARK",
        "the face is dark: put a light or a window in front of you",
        "brightness",
        20.0,
        45.0,
        20.0,
    ),
    _Check(
        "TOO_BRIGHT",
        "the face is very bright: step out of the direct light",
        "brightness",
        246.0,
        228.0,
        20.0,
    ),
    _Check(
        "LOW_CONTRAST",
        "the face hardly stands out: use more even, stronger light",
        "contrast",
        14.0,
        45.0,
        20.0,
    ),
    _Check(
        "MOUTH_COVERED",
        "the mouth cannot be seen: take away what covers it",
        "lip_detail",
        0.012,
        0.02,
        10.0,
    ),
    _Check(
        "TURNED_AWAY",
        "the head is turned to the side: turn to face the camera",
        "abs_yaw_deg",
        25.0,
        12.0,
        20.0,
    ),
    _Check(
        "TILTED_UP_OR_DOWN",
        "the head is raised or lowered: hold the camera at eye level",
        "abs_pitch_deg",
        28.0,
        16.0,
        15.0,
    ),
    _Check(
        "MOUTH_OPEN", "the mouth is open: close it, or smile at most", "mouth_open", 0.5, 0.25, 15.0
    ),
    _Check("EYES_CLOSED", "the eyes are closed: open them", "eyes_open", 0.08, 0.14, 10.0),
    _Check(
        "TOO_LITTLE_ROOM",
        "the photo ends close to the head: leave more room around it",
        "uncovered",
        0.15,
        0.01,
        15.0,
    ),
)


@dataclass(frozen=True, slots=True)
class Assessment:
    """Reasons refuse a photo; warnings and the score (0..100) tell how much better another one
    could be.
    """

    reasons: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    score: float


def measure(
    picture: RgbImage, points: NDArray[np.float64], *, face_height_px: float, uncovered: float
) -> Measurements:
    """Measure the enrolled picture `[h, w, 3]` and its mesh `[478, 3]`; the two numbers come from
    the photo it was cut out of.
    """
    luma, inside, lips = _face_at_fixed_width(picture, points)
    shades = luma[inside]
    low, high = np.percentile(shades, (5, 95))
    contrast = float(high - low)
    edges = cv2.Sobel(cv2.GaussianBlur(luma, (0, 0), 1.0), cv2.CV_32F, 0, 1) / 8.0
    mouth_width = _distance(points, _LEFT_CORNER, _RIGHT_CORNER)
    return Measurements(
        face_height_px=face_height_px,
        uncovered=uncovered,
        sharpness=float(
            cv2.Laplacian(luma, cv2.CV_32F)[inside].var() / max(1.0, float(shades.var()))
        ),
        brightness=float(np.median(shades)),
        contrast=contrast,
        lip_detail=float(np.abs(edges[lips]).mean() / max(1.0, contrast)) if lips.any() else 0.0,
        yaw_deg=yaw_deg(points),
        pitch_deg=pitch_deg(points),
        mouth_open=_distance(points, _UPPER_LIP, _LOWER_LIP) / max(1e-6, mouth_width),
        eyes_open=sum(
            _distance(points, a, b) / max(1e-6, _distance(points, c, d)) for a, b, c, d in _EYES
        )
        / 2.0,
    )


def assess(measurements: Measurements) -> Assessment:
    """All reasons at once, so that one more photo is enough."""
    reasons: list[Finding] = []
    warnings: list[Finding] = []
    score = 100.0
    for check in _CHECKS:
        value = _value(measurements, check.value)
        badness = (value - check.warn) / (check.refuse - check.warn)
        if badness <= 0.0:
            continue
        score -= check.penalty * min(1.0, badness)
        (reasons if badness >= 1.0 else warnings).append(
            Finding(check.code, check.message, round(value, 4))
        )
    return Assessment(tuple(reasons), tuple(warnings), round(max(0.0, score), 1))


def yaw_deg(points: NDArray[np.float64]) -> float:
    """How far the head is turned, from the depth of three pairs of points that are level in every
    face.
    """
    spans = np.array([points[right] - points[left] for left, right in _LEVEL_PAIRS])
    angles = np.degrees(np.arctan2(spans[:, 2], np.hypot(spans[:, 0], spans[:, 1])))
    return float(angles.mean())


def pitch_deg(points: NDArray[np.float64]) -> float:
    """How far the head is raised, from the depth of the chin against the topmost point."""
    rise = points[_CHIN] - points[_TOP]
    return math.degrees(math.atan2(rise[2], rise[1])) - LEVEL_PITCH_DEG


def _value(measurements: Measurements, name: str) -> float:
    if name.startswith("abs_"):
        return abs(float(getattr(measurements, name.removeprefix("abs_"))))
    return float(getattr(measurements, name))


def _distance(points: NDArray[np.float64], a: int, b: int) -> float:
    return float(np.hypot(*(points[a, :2] - points[b, :2])))


def _face_at_fixed_width(
    picture: RgbImage, points: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Luma `[h, w]` of the picture scaled to a fixed face width, and which pixels are face and
    lips.
    """
    scale = _FACE_WIDTH / max(1.0, _distance(points, 234, 454))
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    luma = cv2.resize(
        cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), None, fx=scale, fy=scale, interpolation=how
    )

    def region(outline: tuple[int, ...]) -> NDArray[np.bool_]:
        mask = np.zeros(luma.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(points[list(outline), :2] * scale).astype(np.int32)], [1])
        return np.asarray(mask == 1)

    return luma.astype(np.float32), region(FACE_OVAL), region(LIPS_OUTLINE)
