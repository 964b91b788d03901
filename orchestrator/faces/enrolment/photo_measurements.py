"""Measurements of a photo that decide its quality: size, light, sharpness, pose and openness."""

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
"""Pitch that the mesh's depths give for a level face.

12.7 on scikit-image's astronaut, 12.5 on the drawn demo portrait.
"""

_FACE_WIDTH_PX: Final = 128
"""Face width for measuring light and sharpness, pixels.

It makes both independent of the size of the photo.
"""


@dataclass(frozen=True, slots=True)
class Measurements:
    """Values that the checks use."""

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
    """Mean vertical gradient between the lips' outlines, over `contrast`.

    Near zero when something covers the mouth.
    """
    yaw_deg: float
    """Rotation to the side; positive is towards the picture's right."""
    pitch_deg: float
    """Chin up is positive."""
    mouth_open: float
    """Gap between the lips over the mouth's width."""
    eyes_open: float
    """Gap between the lids over the eye's width, mean of both eyes."""


def measure(
    picture: RgbImage, points: NDArray[np.float64], *, face_height_px: float, uncovered: float
) -> Measurements:
    """Measure the enrolled picture `[h, w, 3]` with its mesh `[478, 3]`.

    `face_height_px` and `uncovered` come from the photo it was cut out of.
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


def yaw_deg(points: NDArray[np.float64]) -> float:
    """Yaw of the head, from the depth of three pairs of points that are level in every face."""
    spans = np.array([points[right] - points[left] for left, right in _LEVEL_PAIRS])
    angles = np.degrees(np.arctan2(spans[:, 2], np.hypot(spans[:, 0], spans[:, 1])))
    return float(angles.mean())


def pitch_deg(points: NDArray[np.float64]) -> float:
    """Pitch of the head, from the depth of the chin against the topmost point."""
    rise = points[_CHIN] - points[_TOP]
    return math.degrees(math.atan2(rise[2], rise[1])) - LEVEL_PITCH_DEG


def _distance(points: NDArray[np.float64], a: int, b: int) -> float:
    return float(np.hypot(*(points[a, :2] - points[b, :2])))


def _face_at_fixed_width(
    picture: RgbImage, points: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Luma `[h, w]` at a fixed face width, and the masks of face and lips."""
    scale = _FACE_WIDTH_PX / max(1.0, _distance(points, 234, 454))
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    luma = cv2.resize(
        cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), None, fx=scale, fy=scale, interpolation=how
    )

    def region(outline: tuple[int, ...]) -> NDArray[np.bool_]:
        mask = np.zeros(luma.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(points[list(outline), :2] * scale).astype(np.int32)], [1])
        return np.asarray(mask == 1)

    return luma.astype(np.float32), region(FACE_OVAL), region(LIPS_OUTLINE)
