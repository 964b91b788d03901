"""The square of a photo that networks trained on VoxCeleb are given: the head with some of what is
around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage

PICTURE_SIZE: Final = 256
"""Side of the networks' pictures in pixels."""

HEAD_SIDE: Final = 1.9
"""Side of the square in face lengths (topmost mesh point to chin): the head takes two thirds, as in
the pictures of VoxCeleb.
"""

CROWN_ABOVE_FACE: Final = 0.30
"""The crown lies this far above the mesh's topmost point, in face lengths."""

CROWN_AT: Final = 0.10
"""Where the crown lies in the square, from above."""

WHOLE_FROM: Final = 0.85
"""A square that takes more of the picture's side becomes the whole picture; enrolled photos are
framed so.
"""

MIN_SIDE: Final = 16
"""No network makes a face of less."""

SOURCE_SIZE: Final = 512
"""Size at which the source is drawn, so that the cut-out of a small face keeps what the photo has. 
"""

_TOP, _CHIN = 10, 152


@dataclass(frozen=True, slots=True)
class HeadSquare:
    """Pixels of a frame of `PICTURE_SIZE`; all even, so that they are whole ones at half the size
    too.
    """

    left: int
    top: int
    side: int

    def of(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """This part of a square picture of any size, a view."""
        left, top, side = (
            edge * picture.shape[0] // PICTURE_SIZE for edge in (self.left, self.top, self.side)
        )
        return picture[top : top + side, left : left + side]


def head_square(points: NDArray[np.float64]) -> HeadSquare:
    """The square around the head whose mesh `[n, 2]` lies so in a frame of `PICTURE_SIZE`;
    ValueError where it is next to nothing.
    """
    length = float(np.linalg.norm(points[_CHIN] - points[_TOP]))
    side = round(HEAD_SIDE * length / 2) * 2
    if side > WHOLE_FROM * PICTURE_SIZE:
        return HeadSquare(0, 0, PICTURE_SIZE)
    if side < MIN_SIDE:
        raise ValueError(
            f"landmarks: a head of {side} pixels in a frame of {PICTURE_SIZE}, expected at least "
            f"{MIN_SIDE}"
        )
    crown = points[_TOP] + CROWN_ABOVE_FACE * (points[_TOP] - points[_CHIN])
    middle = (points[:, 0].min() + points[:, 0].max()) / 2.0
    return HeadSquare(
        _inside(middle - side / 2, side), _inside(crown[1] - CROWN_AT * side, side), side
    )


def _inside(edge: float, side: int) -> int:
    return int(np.clip(round(edge / 2) * 2, 0, PICTURE_SIZE - side))


def resized(picture: NDArray[np.uint8], side: int) -> RgbImage:
    """A square picture with another side, averaged where it shrinks."""
    if len(picture) == side:
        return picture
    way = cv2.INTER_AREA if len(picture) > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (side, side), interpolation=way), np.uint8)
