"""A face prepared for the neural spline model: the square to repaint, and its invisible paste."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import FaceModel, RgbImage
from orchestrator.models.base import Frames
from orchestrator.models.head_square import SOURCE_SIZE, HeadSquare, head_square, resized
from orchestrator.models.static.adapter import StaticFace, prepare_static_face
from orchestrator.models.tpsm.adapter import TpsmFace, prepare_face
from orchestrator.models.tpsm_neural.motion import PICTURE_SIZE, motion_scale
from orchestrator.rendering.build_face_maps import frame_points

FEATHER_SHARE: Final = 0.08
"""Width of the fades along edges, in sides of the square.

This model's patch fades along the image's own edges too: its network has no data beyond them, and
darkens from there.
"""


@dataclass(frozen=True, slots=True, eq=False)
class TpsmNeuralPictures:
    """One face at one size, before the networks have processed it."""

    shown: TpsmFace
    """Renders the frames at the output size."""
    driver: TpsmFace
    """Renders the frames that drive the network, at `PICTURE_SIZE`."""
    square: HeadSquare
    source: RgbImage
    """`[256, 256, 3]`: the face at rest, which the network animates."""
    rest: RgbImage
    """`[256, 256, 3]`: the same as rendered for the driver, where its motion begins."""
    patch_weight: NDArray[np.float32]
    """`[side, side]` weight of a patch in the square at the output size, 0..1."""

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; of both faces where they differ."""
        faces = {id(face): face.nbytes for face in (self.shown, self.driver)}
        return (
            sum(faces.values()) + self.source.nbytes + self.rest.nbytes + self.patch_weight.nbytes
        )


@dataclass(frozen=True, slots=True, eq=False)
class TpsmNeuralFace:
    """The pictures, with the networks' encodings of them."""

    pictures: TpsmNeuralPictures
    source_points: NDArray[np.float32]
    rest_points: NDArray[np.float32]
    """`[50, 2]` each."""
    scale: float
    """Scale of the driver's motion: 1, except for differences between the two images."""
    tensors: Mapping[str, NDArray[Any]]
    """Inputs about the face in every request for frames, with the batch axis."""

    @property
    def nbytes(self) -> int:
        """Without the encodings."""
        return self.pictures.nbytes


def prepare_tpsm_neural_pictures(face: FaceModel, size: int) -> TpsmNeuralPictures:
    """ValueError as `build_face_maps`."""
    height, width = face.neutral_pose.shape[:2]
    square = head_square(frame_points(face.landmarks(), width, height, PICTURE_SIZE))
    driver = prepare_static_face(face, PICTURE_SIZE)
    return TpsmNeuralPictures(
        shown=driver.face if size == PICTURE_SIZE else prepare_face(face, size),
        driver=driver.face,
        square=square,
        source=_at_rest(prepare_static_face(face, SOURCE_SIZE), square),
        rest=_at_rest(driver, square),
        patch_weight=feathered_square(square, size, everywhere=True),
    )


def join_encodings(
    pictures: TpsmNeuralPictures, encodings: Mapping[str, NDArray[Any]]
) -> TpsmNeuralFace:
    """Join the face with `source_points`, `rest_points` and the source's features.

    ValueError where the points span no area.
    """
    source_points, rest_points = encodings["source_points"], encodings["rest_points"]
    features = {
        name: array[None] for name, array in encodings.items() if name.startswith("features_")
    }
    tensors = {"picture": pictures.source[None], "source_points": source_points[None], **features}
    return TpsmNeuralFace(
        pictures, source_points, rest_points, motion_scale(source_points, rest_points), tensors
    )


def feathered_square(
    square: HeadSquare, size: int, *, everywhere: bool = False
) -> NDArray[np.float32]:
    """Weight of a patch: 1, but for fades along edges inside the image.

    With `everywhere` it fades along all four edges.
    """
    side = square.side * size // PICTURE_SIZE
    across = (np.arange(side, dtype=np.float32) + 0.5) / (side * FEATHER_SHARE)
    edges = [
        (everywhere or start > 0, everywhere or start + square.side < PICTURE_SIZE)
        for start in (square.top, square.left)
    ]
    rows, columns = (_fade(across, first=first, last=last) for first, last in edges)
    weight: NDArray[np.float32] = np.outer(rows, columns).astype(np.float32)
    return weight


def _fade(across: NDArray[np.float32], *, first: bool, last: bool) -> NDArray[np.float32]:
    t = np.ones_like(across)
    if first:
        t = np.minimum(t, across)
    if last:
        t = np.minimum(t, across[::-1])
    fade: NDArray[np.float32] = t * t * (3.0 - 2.0 * t)
    return fade


def network_pictures(frames: Frames, square: HeadSquare) -> Frames:
    """The square of each frame `[n, size, size, 3]` at the network's size."""
    return np.stack([resized(square.of(frame), PICTURE_SIZE) for frame in frames])


def paste_square(
    pictures: TpsmNeuralPictures, frame: RgbImage, patch: NDArray[np.uint8], share: float
) -> None:
    """Paste the network's `patch` `[256, 256, 3]` into `frame` `[size, size, 3]`.

    With a smaller share it is translucent.
    """
    region = pictures.square.of(frame)
    weight = pictures.patch_weight * np.float32(share)
    region[:] = cv2.blendLinear(
        resized(patch, len(region)), np.ascontiguousarray(region), weight, 1.0 - weight
    )


def _at_rest(face: StaticFace, square: HeadSquare) -> RgbImage:
    return resized(square.of(face.at_rest()), PICTURE_SIZE)
