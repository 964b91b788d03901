"""A photo prepared for SadTalker: the networks' inputs, their encodings, and the paste."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, RgbImage
from orchestrator.models.sadtalker.coefficients import EXPRESSION, POSED_VALUES
from orchestrator.models.sadtalker.face import (
    PICTURE_SIZE,
    aligned_face,
    alignment,
    cut,
    face_square,
    network_picture,
)
from orchestrator.models.sadtalker.landmarks import ibug_points
from orchestrator.models.sadtalker.paste import CropPlace, Pasting, crop_place, pasting
from orchestrator.rendering.build_face_maps import square_around
from orchestrator.rendering.landmarks import checked

MIN_CROP_PX: Final = 64
"""Least side in pixels of the animated square in the photo, a quarter of the network's."""

ANGLES: Final = slice(224, 227)
TRANSLATION: Final = slice(254, 257)
EXPRESSIONS: Final = slice(80, 144)
"""Range of the expression in the reconstruction's 257 coefficients."""


@dataclass(frozen=True, slots=True, eq=False)
class SadTalkerPhoto:
    """One photo at one size, before any network has processed it."""

    still: RgbImage
    """`[size, size, 3]`: the image as the other models render it, at rest."""
    pasting: Pasting
    picture: RgbImage
    """`[256, 256, 3]`: the square that moves."""
    aligned: RgbImage
    """`[224, 224, 3]`: the face for the 3DMM's network."""
    seed: int
    """Seed of blinks and head motion."""

    @property
    def nbytes(self) -> int:
        """All arrays."""
        return self.still.nbytes + self.pasting.nbytes + self.picture.nbytes + self.aligned.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class SadTalkerFace:
    """The photo with the encodings of the networks that depend on it alone."""

    photo: SadTalkerPhoto
    feature_volume: NDArray[Any]
    """`[32, 16, 64, 64]`."""
    compressed_volume: NDArray[Any]
    """`[4, 16, 64, 64]`."""
    canonical_key_points: NDArray[np.float32]
    """`[15, 3]`, before the head is turned."""
    source_key_points: NDArray[np.float32]
    """`[15, 3]`, in the photo's pose."""
    coefficients: NDArray[np.float32]
    """`[70]`: the photo's expression 64 and pose 6."""
    closed_lids: NDArray[np.float32]
    """`[64]`: difference that a whole blink adds to any expression."""

    @property
    def nbytes(self) -> int:
        """Bytes of the photo; the encodings are counted by the cache that keeps them."""
        return self.photo.nbytes

    @property
    def expression(self) -> NDArray[np.float32]:
        """`[64]`, the photo's own."""
        return self.coefficients[:EXPRESSION]

    @property
    def pose(self) -> NDArray[np.float32]:
        """`[6]`, the photo's own angles and translation."""
        return self.coefficients[EXPRESSION:POSED_VALUES]


def prepare_photo(face: FaceModel, size: int) -> SadTalkerPhoto:
    """Cut and align the face for frames of `size`.

    Raises FACE_MODEL_INCOMPATIBLE where the photo shows too little of it.
    """
    try:
        mesh = checked(face.landmarks(), face.neutral_pose.shape[1], face.neutral_pose.shape[0])
        picture, place = _crop(face.neutral_pose, ibug_points(mesh.astype(np.float32)))
    except ValueError as error:
        message = (
            f"face model {face.id!r} cannot be used with sadtalker: {error}; "
            "enrol a photo that shows the whole head, larger"
        )
        raise LipSyncError(
            LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, message, recoverable=False
        ) from error
    points = place.to_crop(ibug_points(mesh.astype(np.float32)))
    drawn = square_around(mesh, face.neutral_pose.shape[1], face.neutral_pose.shape[0])
    return SadTalkerPhoto(
        still=_still(face.neutral_pose, drawn, size),
        pasting=pasting(place.in_frame(drawn, size), size),
        picture=picture,
        aligned=aligned_face(picture, alignment(points, PICTURE_SIZE, PICTURE_SIZE)),
        seed=zlib.crc32(f"{face.user_id}/{face.id}".encode()),
    )


def photo_coefficients(reconstructed: NDArray[np.float32]) -> NDArray[np.float32]:
    """Expression 64 and pose 6 of the reconstruction's `[257]`."""
    return np.concatenate(
        (reconstructed[EXPRESSIONS], reconstructed[ANGLES], reconstructed[TRANSLATION])
    )


def _crop(photo: RgbImage, points: NDArray[np.float32]) -> tuple[RgbImage, CropPlace]:
    """The network's image `[256, 256, 3]` and its position in the photo."""
    if np.ptp(points[36:48], axis=0).max() < 1.0:
        raise ValueError("its eyes lie in one place")
    square = face_square(points, photo.shape[1], photo.shape[0])
    crop = cut(photo, square, with_border=False)
    if min(crop.shape[:2]) < MIN_CROP_PX:
        raise ValueError(
            f"its square has {crop.shape[1]} x {crop.shape[0]} pixels in the photo, "
            f"{MIN_CROP_PX} are needed"
        )
    return network_picture(crop), crop_place(square, crop, photo.shape[1])


def _still(photo: RgbImage, drawn: tuple[int, int, int], size: int) -> RgbImage:
    left, top, side = drawn
    part = photo[top : top + side, left : left + side]
    return np.asarray(
        cv2.resize(
            part, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
        ),
        np.uint8,
    )
