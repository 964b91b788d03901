"""The lips of one photo in mouth coordinates, and their closed position at rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
from orchestrator.rendering.landmarks import (
    CHEEKS,
    CHIN,
    FACE_SIDES,
    FOLDS,
    LEFT_EYE_LOWER,
    LOWER_LIP_INNER,
    LOWER_LIP_OUTER,
    NOSE_BASE,
    RIGHT_EYE_LOWER,
    UPPER_LIP_INNER,
    UPPER_LIP_OUTER,
    Frame,
    Points,
    frame_between,
    pick,
)
from orchestrator.rendering.monotone_curve import MonotoneCurve, monotone_curve

MAX_SHUT_GAP: Final = 0.07
"""Largest gap, in half mouth widths, at which a photo's lips count as shut.

Landmark noise is 0.02-0.05.
"""

NEUTRAL_WIDTH_OVER_EYES: Final = 0.80
"""Width of a relaxed mouth over the distance of the pupils: 50 mm to 63 mm.

Source: Farkas, Anthropometry of the Head and Face.
"""

EDGE_INSET_PX: Final = 0.7
"""Inset of the lips' edges where a photo shows teeth.

It keeps a bright rim from moving with the lips.
"""

SEAM_SEARCH_RANGE: Final = 0.10
"""Search range above and below the landmarks for the line between closed lips.

In half mouth widths.
"""

SEALED_FROM_SHARE: Final = 0.95
"""Part of the lip line from which on, towards the corners, the lips stay together."""


@dataclass(frozen=True, slots=True, eq=False)
class MouthShape:
    """Lips, chin and anchors of one photo in mouth coordinates.

    Mouth corners at x = -1 and 1, y down.
    """

    frame: Frame
    upper_inner: Points
    lower_inner: Points
    upper_outer: Points
    lower_outer: Points
    seam: Points
    """`[11, 2]` line where the lips meet at rest."""
    chin: Points
    cheeks: Points
    folds: Points
    still: Points
    """Points that no mouth movement reaches: nose, lower lids, sides of the face."""
    shut: bool
    scale: float
    """Neutral half mouth width over this photo's: about 1, less for a wide smile.

    It is the unit of vertical movements.
    """
    smile: float
    """0 for a relaxed mouth, 1 for a broad smile."""


def mouth_shape(landmarks: Points, photo: RgbImage) -> MouthShape:
    """Read the mouth off landmarks `[468 or 478, 2]` in pixels of `photo`.

    ValueError when it is degenerate.
    """
    frame = frame_between(landmarks[UPPER_LIP_OUTER[0]], landmarks[UPPER_LIP_OUTER[-1]])
    local = frame.to_local(landmarks)
    upper, lower = pick(local, UPPER_LIP_INNER), pick(local, LOWER_LIP_INNER)
    gap = np.maximum(lower - upper, 0.0) * np.array([0.0, 1.0])
    shut = bool(gap[:, 1].max() < MAX_SHUT_GAP)
    seam = _on_dark_line((upper + lower) / 2.0, frame, photo) if shut else upper + 0.42 * gap
    if not shut:
        inset = np.minimum(EDGE_INSET_PX / frame.unit, 0.25 * gap) * np.array([0.0, 1.0])
        upper, lower = upper - inset, lower + inset
    eyes = local[[33, 133, 263, 362]]
    eye_span = float(abs(eyes[2:, 0].mean() - eyes[:2, 0].mean()))
    scale = float(np.clip(NEUTRAL_WIDTH_OVER_EYES * eye_span / 2.0, 0.7, 1.25))
    still = np.vstack(
        [
            pick(local, NOSE_BASE),
            pick(local, FACE_SIDES),
            local[list(RIGHT_EYE_LOWER[2:7:2] + LEFT_EYE_LOWER[2:7:2])],
        ]
    )
    return MouthShape(
        frame=frame,
        upper_inner=seam.copy() if shut else upper,
        lower_inner=seam.copy() if shut else lower,
        upper_outer=pick(local, UPPER_LIP_OUTER),
        lower_outer=pick(local, LOWER_LIP_OUTER),
        seam=seam,
        chin=pick(local, CHIN),
        cheeks=pick(local, CHEEKS),
        folds=pick(local, FOLDS),
        still=still,
        shut=shut,
        scale=scale,
        smile=smile_of(scale),
    )


def smile_of(scale: float) -> float:
    """0 for a mouth of neutral width, 1 for one a quarter wider, by its `MouthShape.scale`."""
    return float(np.clip((1.0 / max(scale, 0.1) - 1.0) / 0.25, 0.0, 1.0))


def _on_dark_line(seam: Points, frame: Frame, photo: RgbImage) -> Points:
    """The seam moved onto the dark line between closed lips.

    A pixel off, and one lip would carry the line away.
    """
    beside, reach = SEAM_SEARCH_RANGE / 2.0, np.linspace(-SEAM_SEARCH_RANGE, SEAM_SEARCH_RANGE, 25)
    luma = cv2.GaussianBlur(
        cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32),
        (0, 0),
        max(0.02 * frame.unit, 0.5),
    )

    def light(shift: float) -> NDArray[np.float64]:
        places = seam[:, None, :] + np.stack([np.zeros_like(reach), reach + shift], axis=-1)
        at = frame.to_pixels(places).astype(np.float32)
        return np.asarray(
            cv2.remap(
                luma, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            ),
            dtype=np.float64,
        )

    here = light(0.0)
    line = (light(-beside) + light(beside)) / 2.0 - here
    dark = here.mean(axis=1, keepdims=True) - here
    likely = 3.0 * line / max(float(np.abs(line).max()), 1.0) + 2.0 * dark / max(
        float(here.std()), 1.0
    )
    weights = np.exp(likely - (reach / (0.8 * SEAM_SEARCH_RANGE)) ** 2)
    offsets = (weights * reach).sum(axis=1) / weights.sum(axis=1)
    offsets[[0, -1]] = 0.0
    moved = seam.copy()
    moved[1:-1, 1] += np.convolve(offsets, (0.25, 0.5, 0.25), mode="valid")
    return moved


def inner_corners(shape: MouthShape) -> tuple[float, float]:
    """x of the ends of the lip line."""
    return float(shape.seam[0, 0]), float(shape.seam[-1, 0])


def opening_profile(x: NDArray[np.float64], shape: MouthShape) -> NDArray[np.float64]:
    """Gap of the lips at `x`, 1 in the middle, 0 at the corners.

    Between an ellipse and a parabola.
    """
    left, right = inner_corners(shape)
    middle, half = (left + right) / 2.0, max((right - left) / 2.0, 0.1)
    inside = np.maximum(1.0 - ((x - middle) / (SEALED_FROM_SHARE * half)) ** 2, 0.0)
    profile: NDArray[np.float64] = inside**0.58
    return profile


def columns(points: Points, count: int = 19) -> Points:
    """`[count, 2]` points along a lip.

    Denser towards the corners, where the opening changes fastest.
    """
    place = np.sin(np.linspace(-np.pi / 2.0, np.pi / 2.0, count))
    left, right = points[0, 0], points[-1, 0]
    x = (left + right) / 2.0 + place * (right - left) / 2.0
    return np.stack([x, curve(points)(x)], axis=1)


def curve(points: Points) -> MonotoneCurve:
    """A smooth y(x) through lip points `[n, 2]` from left to right, level beyond the ends."""
    return monotone_curve(
        np.maximum.accumulate(points[:, 0]) + 1e-3 * np.arange(len(points)), points[:, 1]
    )
