"""Square of a photo for networks trained on VoxCeleb: the head with some surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage

PICTURE_SIZE: Final = 256
"""Side of the networks' images in pixels."""

HEAD_SIDE: Final = 1.9
"""Side of the square in face lengths (topmost mesh point to chin).

The head takes two thirds, as in the images of VoxCeleb.
"""

CROWN_ABOVE_FACE: Final = 0.30
"""Height of the crown above the mesh's topmost point, in face lengths."""

CROWN_POSITION: Final = 0.10
"""Position of the crown in the square, from above."""

WHOLE_IMAGE_SHARE: Final = 0.85
"""Share of the image's side from which on the square becomes the whole image.

Enrolled photos are framed so.
"""

MIN_SIDE: Final = 16
"""Least side in pixels from which a network can generate a face."""

SOURCE_SIZE: Final = 512
"""Side at which the source is rendered, so that a small face keeps the photo's detail."""

_TOP, _CHIN = 10, 152


@dataclass(frozen=True, slots=True)
class HeadSquare:
    """Square in pixels of a frame of `PICTURE_SIZE`; all values even.

    They are then whole numbers at half the size too.
    """

    left: int
    top: int
    side: int

    def of(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """This part of a square image of any size, a view."""
        left, top, side = (
            edge * picture.shape[0] // PICTURE_SIZE for edge in (self.left, self.top, self.side)
        )
        return picture[top : top + side, left : left + side]


def head_square(points: NDArray[np.float64]) -> HeadSquare:
    """The square around the head with the mesh `[n, 2]` in a frame of `PICTURE_SIZE`.

    ValueError where it is next to nothing.
    """
    length = float(np.linalg.norm(points[_CHIN] - points[_TOP]))
    side = round(HEAD_SIDE * length / 2) * 2
    if side > WHOLE_IMAGE_SHARE * PICTURE_SIZE:
        return HeadSquare(0, 0, PICTURE_SIZE)
    if side < MIN_SIDE:
        raise ValueError(
            "landmarks: "
            f"a head of {side} pixels in a frame of {PICTURE_SIZE}, expected at least {MIN_SIDE}"
        )
    crown = points[_TOP] + CROWN_ABOVE_FACE * (points[_TOP] - points[_CHIN])
    middle = (points[:, 0].min() + points[:, 0].max()) / 2.0
    return HeadSquare(
        _inside(middle - side / 2, side), _inside(crown[1] - CROWN_POSITION * side, side), side
    )


def _inside(edge: float, side: int) -> int:
    return int(np.clip(round(edge / 2) * 2, 0, PICTURE_SIZE - side))


def resized(picture: NDArray[np.uint8], side: int) -> RgbImage:
    """A square image with another side, averaged where it shrinks."""
    if len(picture) == side:
        return picture
    way = cv2.INTER_AREA if len(picture) > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (side, side), interpolation=way), np.uint8)
