"""SadTalker's crop of a photo: the square to animate, and the face aligned for its 3DMM.

Source: OpenTalker/SadTalker, `src/utils/croper.py`, `src/utils/preprocess.py` and
`src/face3d/util/preprocess.py`. Landmarks are the 68 of the iBUG scheme, numbered from 0, in pixels
(x, y).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage

PICTURE_SIZE: Final = 256
ALIGNED_SIZE: Final = 224
MAX_SQUARE_PX: Final = 1024
"""Pixels; photos whose face square is at least twice as large are shrunk first."""

FACE_HEIGHT: Final = 102.0
"""Scale of the standard points in the aligned image."""

STANDARD_POINTS: Final[NDArray[np.float64]] = np.array(
    [
        [-0.3114865720272064, 0.29036077857017517, 0.13377952575683594],
        [0.30979886651039124, 0.289720356464386, 0.1317952573299408],
        [0.003253498813137412, -0.04617932438850403, 0.5524424314498901],
        [-0.25216928124427795, -0.3813391625881195, 0.22405731678009033],
        [0.24846619367599487, -0.38128235936164856, 0.22235769033432007],
    ]
)
"""Left eye, right eye, nose, left and right corner of the mouth of the mean face.

y points up (Deep3DFaceRecon).
"""


@dataclass(frozen=True, slots=True)
class FaceSquare:
    """Part that is cut from a photo of `size` (width, height) after shrinking."""

    size: tuple[int, int]
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in the photo: the square with a border."""
    quad: tuple[float, float, float, float]
    """The square itself, inside the box."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """Position of the standard face in an image."""

    size: tuple[int, int]
    scale: float
    centre: tuple[float, float]
    """x, and y counted from below."""

    @property
    def row(self) -> NDArray[np.float32]:
        """Width, height, scale, x, y of the alignment.

        The last three are the photo's crop numbers in its coefficients.
        """
        return np.array([*self.size, self.scale, *self.centre], np.float32)


def face_square(landmarks: NDArray[np.float32], width: int, height: int) -> FaceSquare:
    """The square around a face of 68 landmarks, upright or tilted, and its hull in the photo."""
    points = landmarks.astype(np.float64)
    left_eye, right_eye = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    eyes, mouth = (left_eye + right_eye) / 2.0, (points[48] + points[54]) / 2.0
    across, down = right_eye - left_eye, mouth - eyes
    x = across - np.array([-down[1], down[0]])
    x *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
    y, centre = np.array([-x[1], x[0]]), eyes + 0.1 * down
    corners = np.stack((centre - x - y, centre - x + y, centre + x + y, centre + x - y))
    side = 2.0 * float(np.hypot(*x))
    if (shrink := int(side // MAX_SQUARE_PX)) > 1:
        width, height = round(width / shrink), round(height / shrink)
        corners, side = corners / shrink, side / shrink
    box = _hull(corners, max(round(0.1 * side), 3), width, height)
    return FaceSquare((width, height), box, _inner(corners - box[:2] + 0.5, width))


def _hull(
    corners: NDArray[np.float64], border: int, width: int, height: int
) -> tuple[int, int, int, int]:
    left, top = np.floor(corners.min(axis=0)).astype(int) - border
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + border
    return max(int(left), 0), max(int(top), 0), min(int(right), width), min(int(bottom), height)


def _inner(corners: NDArray[np.float64], width: int) -> tuple[float, float, float, float]:
    """Bound both axes by the photo's width, as upstream does."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners.tolist()
    return (
        max(min(x0, x1), 0.0),
        max(min(y0, y3), 0.0),
        min(max(x2, x3), float(width)),
        min(max(y1, y2), float(width)),
    )


def cut(photo: RgbImage, square: FaceSquare, *, with_border: bool) -> RgbImage:
    """The square, or the whole box `with_border`, in the photo's own resolution."""
    left, top, right, bottom = square.box
    box = _resized(photo, square.size)[top:bottom, left:right]
    if with_border:
        return box
    x0, y0, x1, y1 = (int(edge) for edge in square.quad)
    return box[y0:y1, x0:x1]


def network_picture(picture: RgbImage) -> RgbImage:
    """`[256, 256, 3]` for the networks; the aspect is not kept."""
    return _resized(picture, (PICTURE_SIZE, PICTURE_SIZE))


def _resized(picture: RgbImage, size: tuple[int, int]) -> RgbImage:
    resized: RgbImage = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR).astype(
        np.uint8, copy=False
    )
    return resized


def alignment(landmarks: NDArray[np.float32], width: int, height: int) -> Alignment:
    """Affine camera that best maps the standard face to five points of the 68."""
    points = landmarks.astype(np.float64) * (1.0, -1.0) + (0.0, height - 1.0)
    five = np.stack(
        (
            points[[36, 39]].mean(axis=0),
            points[[42, 45]].mean(axis=0),
            points[30],
            points[48],
            points[54],
        )
    )
    camera = np.linalg.lstsq(np.column_stack((STANDARD_POINTS, np.ones(5))), five, rcond=None)[0]
    scale = FACE_HEIGHT / float(np.linalg.norm(camera[:3], axis=0).mean())
    return Alignment((width, height), scale, (float(camera[3, 0]), float(camera[3, 1])))


def aligned_face(picture: RgbImage, found: Alignment) -> RgbImage:
    """The face `[224, 224, 3]` for the 3DMM's network; black outside the image."""
    (width, height), (x, y), scale = found.size, found.centre, found.scale
    new_width, new_height = int(width * scale), int(height * scale)
    half = ALIGNED_SIZE / 2
    left = int(new_width / 2 - half + (x - width / 2) * scale)
    top = int(new_height / 2 - half + (height / 2 - y) * scale)
    large = resized_bicubic(picture, new_width, new_height)
    return np.pad(large, ((ALIGNED_SIZE,) * 2, (ALIGNED_SIZE,) * 2, (0, 0)))[
        top + ALIGNED_SIZE : top + 2 * ALIGNED_SIZE, left + ALIGNED_SIZE : left + 2 * ALIGNED_SIZE
    ]


def resized_bicubic(picture: RgbImage, width: int, height: int) -> RgbImage:
    """Bicubic resampling as in Pillow; OpenCV's has another kernel.

    a = -0.5, widened where it shrinks, rounded after each axis.
    """
    rows = np.einsum(
        "xw,hwc->hxc", _cubic_weights(picture.shape[1], width), picture.astype(np.float64)
    )
    columns = np.einsum(
        "yh,hxc->yxc",
        _cubic_weights(picture.shape[0], height),
        _grey_levels(rows).astype(np.float64),
    )
    return _grey_levels(columns)


def _grey_levels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.floor(values + 0.5).clip(0, 255).astype(np.uint8)
    return levels


def _cubic_weights(inputs: int, outputs: int) -> NDArray[np.float64]:
    """`[outputs, inputs]`, each row of sum 1."""
    scale = inputs / outputs
    centres = (np.arange(outputs) + 0.5) * scale
    distance = np.abs(np.arange(inputs) + 0.5 - centres[:, None]) / max(scale, 1.0)
    near = (1.5 * distance - 2.5) * distance**2 + 1.0
    far = ((2.5 - 0.5 * distance) * distance - 4.0) * distance + 2.0
    weights = np.where(distance < 1.0, near, np.where(distance < 2.0, far, 0.0))
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised
