"""The public thin-plate-spline motion network, driven by `tpsm`'s frames of the same face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.executors import in_frame_thread
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.inference import Tensors
from orchestrator.models.base import (
    ArraySpec,
    FaceEncoding,
    FeatureWindows,
    Frames,
    Infer,
    Licences,
    ModelSpec,
)
from orchestrator.models.fade import Painted, faded
from orchestrator.models.tpsm.adapter import Tpsm
from orchestrator.models.tpsm_neural.face import (
    TpsmNeuralFace,
    TpsmNeuralPictures,
    join_encodings,
    network_pictures,
    paste_square,
    prepare_tpsm_neural_pictures,
)
from orchestrator.models.tpsm_neural.motion import PICTURE_SIZE, relative_points

KEY_POINTS: Final = 50

FEATURE_SHAPES: Final = {
    "features_256": (64, 256, 256),
    "features_128": (128, 128, 128),
    "features_64": (256, 64, 64),
    "features_32": (512, 32, 32),
}
"""The network's features of the source, by channels and size: 16 MB in half precision."""

POINTS: Final = ArraySpec("float32", (KEY_POINTS, 2))


class TpsmNeural:
    """Head, mouth and lids move as in `tpsm`, relative to its resting face; the network renders.

    A silent window shows the frame of `tpsm` itself: a network frame costs a thousand times as much
    and would look the same.
    """

    spec = ModelSpec(
        model=LipSyncModel.TPSM_NEURAL,
        triton_models=(
            *Tpsm.spec.triton_models,
            "tpsm_neural_source",
            "tpsm_neural_key_points",
            "tpsm_neural_frames",
        ),
        features=Tpsm.spec.features,
        window=Tpsm.spec.window,
        quality=0.75,
        min_size=Tpsm.spec.min_size,
        licences=Licences(code="ours", weights="unstated", commercial=False),
    )
    face_models = ("tpsm_neural_source", "tpsm_neural_key_points")
    encoding = FaceEncoding(
        {
            "source_points": POINTS,
            "rest_points": POINTS,
            **{name: ArraySpec("float16", shape) for name, shape in FEATURE_SHAPES.items()},
        }
    )

    def __init__(self) -> None:
        self._driver = Tpsm()

    def prepare(self, face: FaceModel, size: int) -> TpsmNeuralPictures:
        """Cut the square of the head, and solve face maps at `size` and at the network's size.

        Raises FACE_MODEL_INCOMPATIBLE where there is no mouth.
        """
        try:
            return prepare_tpsm_neural_pictures(face, size)
        except ValueError as error:
            raise _unusable(
                f"face model {face.id!r} cannot be used with tpsm-neural: {error}; "
                "enrol another photo"
            ) from error

    async def encode(self, infer: Infer, face: TpsmNeuralPictures) -> dict[str, NDArray[Any]]:
        """Key points of the source and of the resting driver, and the source's features.

        The same for every size.
        """
        points = (
            await infer("tpsm_neural_key_points", {"picture": np.stack((face.source, face.rest))})
        )["points"]
        features = await infer("tpsm_neural_source", {"picture": face.source[None]})
        return {
            "source_points": points[0].copy(),
            "rest_points": points[1].copy(),
            **{name: features[name][0].copy() for name in FEATURE_SHAPES},
        }

    def with_encodings(
        self, face: TpsmNeuralPictures, encodings: Mapping[str, NDArray[Any]]
    ) -> TpsmNeuralFace:
        """Join face and encodings.

        Raises FACE_MODEL_INCOMPATIBLE where the network's key points do not span a face.
        """
        try:
            return join_encodings(face, encodings)
        except ValueError as error:
            raise _unusable(
                "tpsm-neural finds no key points in this face; enrol another photo"
            ) from error

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: TpsmNeuralFace, state: Painted | None
    ) -> tuple[Frames, Painted | None]:
        """Generate frames; the network's last frame fades out over silent ones."""
        pictures, speaking = face.pictures, ~windows.silent
        motion = await self._driver.motion(infer, windows, pictures.shown.seed)
        frames = await self._driver.draw(infer, motion, pictures.shown)
        patches = np.empty((0, PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)
        if speaking.any():
            same = pictures.shown is pictures.driver
            driving = (
                frames[speaking]
                if same
                else await self._driver.draw(infer, motion[speaking], pictures.driver)
            )
            patches = await _animated(infer, face, driving)
        layers = faded(windows, patches, state)
        if any(layers):
            frames = await in_frame_thread(_painted, pictures, frames, layers)
        return frames, layers[-1]

    def probe_inputs(self) -> dict[str, Tensors]:
        """Black images, all points in the middle."""
        picture = np.zeros((1, PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)
        points = np.zeros((1, KEY_POINTS, 2), np.float32)
        features = {
            name: np.zeros((1, *shape), np.float16) for name, shape in FEATURE_SHAPES.items()
        }
        return {
            **self._driver.probe_inputs(),
            "tpsm_neural_source": {"picture": picture},
            "tpsm_neural_key_points": {"picture": picture},
            "tpsm_neural_frames": {
                "picture": picture,
                "source_points": points,
                "driving_points": points[None],
                **features,
            },
        }


async def _animated(infer: Infer, face: TpsmNeuralFace, driving: Frames) -> NDArray[np.uint8]:
    """The head `[n, 256, 256, 3]` moved as in the driver's frames.

    They are one item, so that the features are sent once.
    """
    seen = await in_frame_thread(network_pictures, driving, face.pictures.square)
    points = (await infer("tpsm_neural_key_points", {"picture": seen}))["points"]
    moved = relative_points(face.source_points, points, face.rest_points, face.scale)
    patches: NDArray[np.uint8] = (
        await infer("tpsm_neural_frames", {**face.tensors, "driving_points": moved[None]})
    )["frames"][0]
    return patches


def _painted(pictures: TpsmNeuralPictures, frames: Frames, layers: list[Painted | None]) -> Frames:
    painted = frames.copy()
    for frame, layer in zip(painted, layers, strict=True):
        if layer is not None:
            paste_square(pictures, frame, layer.patch, layer.share)
    return painted


def _unusable(message: str) -> LipSyncError:
    return LipSyncError(LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, message, recoverable=False)
