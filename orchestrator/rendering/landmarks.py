"""Groups of MediaPipe face-mesh points, and the mouth's own coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""`[n, 2]` points, x first."""

# Indices of the MediaPipe face mesh, each row from the image's left to its right.
UPPER_LIP_OUTER: Final = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
UPPER_LIP_INNER: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP_INNER: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LOWER_LIP_OUTER: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
CHIN: Final = (172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397)
CHEEKS: Final = (36, 266, 50, 280, 205, 425, 187, 411)
FOLDS: Final = (206, 426, 216, 436, 207, 427)
"""Beside the mouth, along the fold that runs down from the nose."""
FACE_SIDES: Final = (58, 288, 132, 361, 93, 323)
NOSE_BASE: Final = (2, 98, 327, 94, 129, 358)
FACE_OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
RIGHT_EYE_UPPER: Final = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_EYE_LOWER: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_EYE_UPPER: Final = (362, 398, 384, 385, 386, 387, 388, 466, 263)
LEFT_EYE_LOWER: Final = (362, 382, 381, 380, 374, 373, 390, 249, 263)

UNUSABLE_POINTS: Final = (ValueError, ArithmeticError, LookupError, cv2.error)
"""Exceptions of the face geometry where the points form no mouth, no eye or no head."""

POINT_COUNTS: Final = (468, 478)
"""Face mesh without and with the iris points; the renderer uses none of the last ten."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Local coordinates: `origin` in pixels, x along `axis` (unit vector), y downwards in the face.

    One unit is `unit` pixels.
    """

    origin: tuple[float, float]
    axis: tuple[float, float]
    unit: float

    def to_local(self, points: NDArray[Any]) -> Points:
        """Pixels `[..., 2]` to local coordinates."""
        ax, ay = self.axis
        dx, dy = points[..., 0] - self.origin[0], points[..., 1] - self.origin[1]
        return np.stack([(dx * ax + dy * ay) / self.unit, (dy * ax - dx * ay) / self.unit], axis=-1)

    def turn(self, vectors: Points) -> Points:
        """Local displacement vectors `[..., 2]` to pixels."""
        ax, ay = self.axis
        x, y = vectors[..., 0] * self.unit, vectors[..., 1] * self.unit
        return np.stack([x * ax - y * ay, x * ay + y * ax], axis=-1)

    def to_pixels(self, points: Points) -> Points:
        """Local coordinates `[..., 2]` to pixels."""
        return self.turn(points) + np.asarray(self.origin, dtype=np.float64)


def frame_between(left: Points, right: Points) -> Frame:
    """Coordinates in which `left` is (-1, 0) and `right` is (1, 0).

    Both are single points `[2]` in pixels.
    """
    span = (right - left) / 2.0
    unit = float(np.hypot(*span))
    if not unit > 1.0:
        raise ValueError("landmarks: the mouth or an eye is narrower than two pixels")
    middle = (left + right) / 2.0
    return Frame(
        (float(middle[0]), float(middle[1])), (float(span[0]) / unit, float(span[1]) / unit), unit
    )


def pick(points: Points, indices: tuple[int, ...]) -> Points:
    """The points at `indices`."""
    return points[list(indices)]


def checked(landmarks: NDArray[Any], width: int, height: int) -> Points:
    """Landmarks as float64, checked for use.

    ValueError when the count is wrong, a value is not finite or the face lies outside the image.
    """
    if landmarks.ndim != 2 or landmarks.shape[1] != 2 or landmarks.shape[0] not in POINT_COUNTS:
        raise ValueError(f"landmarks: shape {landmarks.shape}, expected (468, 2) or (478, 2)")
    points = landmarks.astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError("landmarks: not finite")
    low, high = points.min(axis=0), points.max(axis=0)
    if (
        (high < 0).any()
        or low[0] > width
        or low[1] > height
        or (high - low > 4 * max(width, height)).any()
    ):
        raise ValueError("landmarks: the face lies outside the picture")
    return points
