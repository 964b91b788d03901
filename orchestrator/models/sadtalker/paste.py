"""Paste SadTalker's moving head into the whole image, with a soft border to the still part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
from orchestrator.models.base import Frames
from orchestrator.models.sadtalker.face import PICTURE_SIZE, FaceSquare

FEATHER_SHARE: Final = 0.08
"""Width of the border that blends still and moving image, as a part of the crop's side.

Half of it cuts shoulders, twice of it shows hair double.
"""

MAX_BORDERLESS_PX: Final = 1
"""Largest distance of the crop's side from the image's own at which it needs no border.

No still part lies beside it.
"""

AVERAGING_SCALE: Final = 0.75
"""Scale below which the network's pixels are averaged, so that nothing flickers.

Above it a cubic keeps them sharp.
"""


@dataclass(frozen=True, slots=True)
class CropPlace:
    """Position of the animated crop in an image: its edges, counted at the borders of pixels."""

    left: float
    top: float
    width: float
    height: float

    def in_frame(self, drawn: tuple[int, int, int], size: int) -> CropPlace:
        """The position in a frame of `size` that shows the part `drawn` of the image.

        `drawn` is left, top, side.
        """
        left, top, side = drawn
        scale = size / side
        return CropPlace(
            (self.left - left) * scale,
            (self.top - top) * scale,
            self.width * scale,
            self.height * scale,
        )

    def to_crop(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points `[n, 2]` in pixels of the image as pixels of the crop at 256 x 256."""
        scaled = (points + 0.5 - (self.left, self.top)) * (
            PICTURE_SIZE / self.width,
            PICTURE_SIZE / self.height,
        ) - 0.5
        return scaled.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Pasting:
    """Geometry and weights of the paste into one frame; made once per face and size."""

    size: tuple[int, int]
    """Width and height of the crop in the frame."""
    corner: tuple[int, int]
    """Row and column of the frame's pixel at the crop's first one.

    Negative where the crop begins outside.
    """
    window: tuple[slice, slice]
    """The part of the frame that changes."""
    weight: NDArray[np.float32]
    """Weight of the network's image in the window, 0..1."""
    rest: NDArray[np.float32]
    """Weight of the still image."""

    @property
    def nbytes(self) -> int:
        """The weights."""
        return self.weight.nbytes + self.rest.nbytes

    def paste(self, frame: RgbImage, picture: RgbImage) -> None:
        """Paste the network's `picture` `[256, 256, 3]` into `frame`."""
        shrinks = min(self.size) < AVERAGING_SCALE * PICTURE_SIZE
        large = cv2.resize(
            picture, self.size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        )
        rows, columns = (
            slice(part.start - first, part.stop - first)
            for part, first in zip(self.window, self.corner, strict=True)
        )
        shown, region = (
            np.ascontiguousarray(large[rows, columns]),
            np.ascontiguousarray(frame[self.window]),
        )
        frame[self.window] = cv2.blendLinear(shown, region, self.weight, self.rest)


def crop_place(square: FaceSquare, crop: RgbImage, photo_width: int) -> CropPlace:
    """Position in the photo of the `crop` that was cut along `square`.

    A large photo was shrunk before.
    """
    shrunk = photo_width / square.size[0]
    x, y = square.box[0] + int(square.quad[0]), square.box[1] + int(square.quad[1])
    return CropPlace(x * shrunk, y * shrunk, crop.shape[1] * shrunk, crop.shape[0] * shrunk)


def pasting(place: CropPlace, size: int) -> Pasting:
    """Weights and geometry for frames of `size`.

    The crop's edges are rounded to whole pixels.
    """
    left, top = round(place.left), round(place.top)
    width, height = round(place.left + place.width) - left, round(place.top + place.height) - top
    across, down = _border(left, width, size), _border(top, height, size)
    columns, rows = np.flatnonzero(across > 0.0), np.flatnonzero(down > 0.0)
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    weight = np.outer(down[window[0]], across[window[1]]).astype(np.float32)
    return Pasting((width, height), (top, left), window, weight, np.float32(1.0) - weight)


def paste_all(still: RgbImage, pictures: NDArray[np.uint8], how: Pasting) -> Frames:
    """Frames `[n, size, size, 3]` of the network's `pictures` over the `still` one.

    `pictures` are `[n, 256, 256, 3]`.
    """
    frames: Frames = np.repeat(still[None], len(pictures), axis=0)
    for frame, picture in zip(frames, pictures, strict=True):
        how.paste(frame, picture)
    return frames


def _border(start: int, length: int, size: int) -> NDArray[np.float64]:
    """Weights `[size]` along one axis: 0 outside of the crop.

    They rise to 1 from each edge that lies inside of the frame.
    """
    centres = np.arange(size, dtype=np.float64) + 0.5
    weights = ((centres > start) & (centres < start + length)).astype(np.float64)
    if start > MAX_BORDERLESS_PX:
        weights *= _smooth((centres - start) / (FEATHER_SHARE * length))
    if start + length < size - MAX_BORDERLESS_PX:
        weights *= _smooth((start + length - centres) / (FEATHER_SHARE * length))
    return weights


def _smooth(share: NDArray[np.float64]) -> NDArray[np.float64]:
    t = np.clip(share, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
