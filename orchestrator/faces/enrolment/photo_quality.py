"""Photo quality: checks of the measured values, with advice where one is out of range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.faces.enrolment.photo_measurements import Measurements


@dataclass(frozen=True, slots=True)
class Finding:
    """Finding about a photo: a code, a message for the user, and the measured value."""

    code: str
    message: str
    measured: float | str


@dataclass(frozen=True, slots=True)
class _Check:
    """Limits of one value: beyond `refuse` the photo is refused, beyond `warn` it scores less."""

    code: str
    message: str
    value: str
    refuse: float
    warn: float
    penalty: float
    """Score deducted at the refusal limit, growing linearly from the warning limit."""


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
    """Result: reasons refuse a photo; warnings and the score (0..100) rate an accepted one."""

    reasons: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    score: float


def assess(measurements: Measurements) -> Assessment:
    """Assess all checks at once, so that one more photo is enough."""
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


def _value(measurements: Measurements, name: str) -> float:
    if name.startswith("abs_"):
        return abs(float(getattr(measurements, name.removeprefix("abs_"))))
    return float(getattr(measurements, name))
