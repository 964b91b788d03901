"""Head poses as images for Audio2Head's key point network: wire boxes of a pinhole camera."""

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
    [
        (x * side, y * side, depth)
        for side, depth in ((75, 0), (100, 100))
        for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1), (-1, -1))
    ],
    np.float64,
)
"""`[10, 3]`: the front square and the larger one behind it, each closed by its first corner."""
EDGES: Final = ((1, 6), (2, 7), (3, 8))
"""Corners joined in addition to the polyline through all of them."""
THICKNESS: Final = 2
WHITE: Final = (255.0,)
_SUBPIXEL_BITS: Final = 16
_SUBPIXEL: Final = 1 << _SUBPIXEL_BITS


def denormalised(pose: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotation and translation `[..., 6]` of the network's -1..1, which may be exceeded."""
    return (pose + np.float32(1)) / np.float32(2) * (POSE_MAX - POSE_MIN) + POSE_MIN


def box_points(pose: NDArray[np.float32]) -> NDArray[np.int32]:
    """Pixels `[10, 2]` (x, y) of the corners of one denormalised pose `[6]`.

    Truncated toward zero.
    """
    rotation, _ = cv2.Rodrigues(pose[:3].astype(np.float64))
    camera = CORNERS @ rotation.T + pose[3:].astype(np.float64)
    pixels = camera[:, :2] / camera[:, 2:] * FOCAL_PX + CENTRE_PX
    truncated: NDArray[np.int32] = pixels.astype(np.int32)
    return truncated


def box_picture(pose: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Image `[256, 256]` of the box of one denormalised pose `[6]`.

    255 on black without anti-aliasing.

    Equal to `cv2.polylines` and `cv2.line` before OpenCV 4.13, which drew the training pictures.
    Later versions clip thick lines first and set up to 23 % of the pixels differently, so each line
    is drawn here as the polygon it was then.
    """
    points = box_points(pose)
    picture = np.zeros((SIZE, SIZE), np.uint8)
    for outline in _line_outlines(points):
        cv2.fillConvexPoly(picture, outline, WHITE, cv2.LINE_8, _SUBPIXEL_BITS)
    for corner in points:
        cv2.circle(picture, corner.tolist(), THICKNESS // 2, WHITE, cv2.FILLED)
    return picture


def _line_outlines(points: NDArray[np.int32]) -> NDArray[np.int32]:
    """Corners `[13, 4, 2]` of the thick lines, in 1/65536 pixel.

    As OpenCV's `ThickLine` computes them (imgproc/src/drawing.cpp).
    """
    first, second = np.transpose(EDGES)
    begins = np.concatenate((points, points[first])).astype(np.int64)
    ends = np.concatenate((np.roll(points, -1, axis=0), points[second])).astype(np.int64)
    along = (ends - begins).astype(np.float64)
    half = THICKNESS / 2 * _SUBPIXEL / np.maximum(1.0, np.hypot(*along.T))
    across = np.rint(np.stack((along[:, 1], -along[:, 0]), axis=1) * half[:, None]).astype(np.int64)
    begins, ends = begins * _SUBPIXEL, ends * _SUBPIXEL
    outlines = np.stack((begins + across, begins - across, ends - across, ends + across), axis=1)
    limits = np.iinfo(np.int32)
    inside: NDArray[np.int32] = np.clip(outlines, limits.min, limits.max).astype(np.int32)
    return inside
