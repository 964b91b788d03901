"""Transfer of motion from face to face, for the neural thin-plate-spline model.

The steps and their order are those of the upstream demo (yoyo-nb/Thin-Plate-Spline-Motion-Model,
`demo.py`). Key points are `[..., 50, 2]`, (x, y) in -1..1.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

PICTURE_SIZE: Final = 256
"""Side in pixels of the square images of networks with config vox-256."""

MIN_HULL_SHARE: Final = 1e-6
"""Hull area over squared extent below which points count as lying on one line.

Ten times the rounding of float32.
"""


def hull_area(points: NDArray[np.floating[Any]]) -> float:
    """Area inside the convex hull of `[N, 2]`. `ValueError` where all points lie on one line."""
    area = cv2.contourArea(cv2.convexHull(points.astype(np.float32)))
    if not area > MIN_HULL_SHARE * float(np.square(np.ptp(points, axis=0)).sum()):
        raise ValueError("the key points lie on one line")
    return area


def motion_scale(source: NDArray[np.floating[Any]], initial: NDArray[np.floating[Any]]) -> float:
    """Size of the source face relative to the first driving face, both `[50, 2]`.

    The ratio of their hulls' sides.
    """
    return float(np.sqrt(hull_area(source)) / np.sqrt(hull_area(initial)))


def relative_points(
    source: NDArray[np.float32],
    driving: NDArray[np.float32],
    initial: NDArray[np.float32],
    scale: float,
) -> NDArray[np.float32]:
    """The source's points moved as the driving face moved since its first image.

    All `[..., 50, 2]`.
    """
    moved: NDArray[np.float32] = source + np.float32(scale) * (driving - initial)
    return moved
