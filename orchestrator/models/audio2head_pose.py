"""Head poses as Audio2Head's key point network sees them: wire boxes, drawn by a pinhole camera."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

POSE_MIN: Final = np.array([-0.639, -0.501, -0.47, -102.6, -32.5, 184.6], np.float32)
POSE_MAX: Final = np.array([0.411, 0.547, 0.433, 159.1, 116.5, 376.5], np.float32)
"""Range of the training set: rotation vector in radians, translation in the camera's units."""

SIZE: Final = 256
FOCAL_PX: Final = 233.333
CENTRE_PX: Final = 128.0
CORNERS: Final = np.array(
    [(x * side, y * side, depth) for side, depth in ((75, 0), (100, 100)) for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1), (-1, -1))],
    np.float64,
)
"""`[10, 3]`: the front square and the larger one behind it, each closed by its first corner."""
EDGES: Final = ((1, 6), (2, 7), (3, 8))
"""Corners joined beside the polyline through all of them."""
THICKNESS: Final = 2
WHITE: Final = (255.0,)


def denormalised(pose: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotation and translation `[..., 6]` of the network's -1..1, which may be exceeded."""
    return (pose + np.float32(1)) / np.float32(2) * (POSE_MAX - POSE_MIN) + POSE_MIN


def box_points(pose: NDArray[np.float32]) -> NDArray[np.int32]:
    """Pixels `[10, 2]` (x, y) of the corners, truncated toward zero, of one denormalised pose `[6]`."""
    rotation, _ = cv2.Rodrigues(pose[:3].astype(np.float64))
    camera = CORNERS @ rotation.T + pose[3:].astype(np.float64)
    pixels = camera[:, :2] / camera[:, 2:] * FOCAL_PX + CENTRE_PX
    truncated: NDArray[np.int32] = pixels.astype(np.int32)
    return truncated


def box_picture(pose: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The box of one denormalised pose `[6]`, `[256, 256]`, 255 on black without anti-aliasing.

    Lines as OpenCV before 4.13 draws them, which the network was trained with; later ones set up to a fifth of the pixels differently.
    """
    points = box_points(pose)
    picture = np.zeros((SIZE, SIZE), np.uint8)
    cv2.polylines(picture, [points], True, WHITE, THICKNESS)
    for first, second in EDGES:
        cv2.line(picture, points[first].tolist(), points[second].tolist(), WHITE, THICKNESS)
    return picture
