"""A face prepared for Audio2Head: the square that the network moves, and its invisible paste."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import FaceModel, RgbImage
from orchestrator.models.audio2head.motion import KeyPoints, Source
from orchestrator.models.base import Frames
from orchestrator.models.head_square import (
    PICTURE_SIZE,
    SOURCE_SIZE,
    HeadSquare,
    head_square,
    resized,
)
from orchestrator.models.static.adapter import RestingFace, prepare_resting_face
from orchestrator.rendering.build_face_maps import frame_points

FEATHER_SHARE: Final = 0.08
"""Width of the fade along edges inside the image, in sides of the square."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio2HeadPictures:
    """One face at one size, before the networks have processed it."""

    head: RestingFace
    """Renders the face at rest, and the surroundings of the square."""
    square: HeadSquare
    source: RgbImage
    """`[256, 256, 3]`: the square at rest; the same for every size."""
    weight: NDArray[np.float32]
    """`[side, side]` weight of the network's image in the square at the output size, 0..1."""

    @property
    def nbytes(self) -> int:
        """All arrays."""
        return self.head.nbytes + self.source.nbytes + self.weight.nbytes

    @property
    def hides_the_rest(self) -> bool:
        """True if the network's image covers the whole frame."""
        return self.square.side == PICTURE_SIZE


@dataclass(frozen=True, slots=True, eq=False)
class Audio2HeadFace:
    """The pictures, with the networks' encodings of them."""

    pictures: Audio2HeadPictures
    source: Source
    rest: KeyPoints
    """Key points of the source."""
    tensors: Mapping[str, NDArray[np.float32]]
    """Inputs about the face in every request for frames, without the batch axis."""

    @property
    def nbytes(self) -> int:
        """Without the encodings."""
        return self.pictures.nbytes


def prepare_audio2head_pictures(face: FaceModel, size: int) -> Audio2HeadPictures:
    """ValueError where the landmarks hold no face."""
    height, width = face.neutral_pose.shape[:2]
    square = head_square(frame_points(face.landmarks(), width, height, PICTURE_SIZE))
    source = resized(square.of(prepare_resting_face(face, SOURCE_SIZE).at_rest()), PICTURE_SIZE)
    return Audio2HeadPictures(
        prepare_resting_face(face, size), square, source, feathered(square, size)
    )


def join_encodings(
    pictures: Audio2HeadPictures, encodings: Mapping[str, NDArray[Any]]
) -> Audio2HeadFace:
    """Join the face with the answer of `audio2head_picture`."""
    value, jacobian = encodings["key_points"], encodings["jacobians"]
    tensors = {
        "features": encodings["features"],
        "small_picture": encodings["small_picture"],
        "source_key_points": value,
        "source_jacobians": jacobian,
    }
    source = Source(pictures.source, encodings["pose"], encodings["vector"])
    return Audio2HeadFace(pictures, source, KeyPoints(value, jacobian), tensors)


def pasted(
    pictures: Audio2HeadPictures,
    idle_s: NDArray[np.float64],
    shares: list[float],
    patches: NDArray[np.uint8],
) -> Frames:
    """Frames `[n, size, size, 3]` of the resting face, with the network's patches pasted.

    `patches` `[m, 256, 256, 3]` belong to the frames whose share is more than 0.
    """
    size = pictures.head.size
    frames: Frames = np.empty((len(shares), size, size, 3), np.uint8)
    fresh = iter(patches)
    for index, share in enumerate(shares):
        if share < 1.0 or not pictures.hides_the_rest:
            frames[index] = pictures.head.resting(idle_s[index : index + 1])[0]
        if share > 0.0:
            _paste(pictures, frames[index], next(fresh), share)
    return frames


def _paste(
    pictures: Audio2HeadPictures, frame: RgbImage, patch: NDArray[np.uint8], share: float
) -> None:
    region = pictures.square.of(frame)
    weight = pictures.weight * np.float32(share)
    region[:] = cv2.blendLinear(
        resized(patch, len(region)), np.ascontiguousarray(region), weight, 1.0 - weight
    )


def feathered(square: HeadSquare, size: int) -> NDArray[np.float32]:
    """Weight of a patch `[side, side]`: 1, but for fades along edges inside the image.

    The network paints the background that a turning head uncovers, so the image's own edges need no
    fade.
    """
    side = square.side * size // PICTURE_SIZE
    across = (np.arange(side, dtype=np.float32) + 0.5) / (side * FEATHER_SHARE)
    rows, columns = (
        _fade(across, start > 0, start + square.side < PICTURE_SIZE)
        for start in (square.top, square.left)
    )
    weight: NDArray[np.float32] = np.outer(rows, columns).astype(np.float32)
    return weight


def _fade(across: NDArray[np.float32], first: bool, last: bool) -> NDArray[np.float32]:
    near = np.minimum(across if first else 1.0, across[::-1] if last else 1.0)
    t = np.clip(np.broadcast_to(near, across.shape), 0.0, 1.0).astype(np.float32)
    faded: NDArray[np.float32] = t * t * (3.0 - 2.0 * t)
    return faded
