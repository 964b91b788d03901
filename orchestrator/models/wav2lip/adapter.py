"""Wav2Lip: repaints the lower half of the resting face from 200 ms of mel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.executors import in_frame_thread
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.inference import Tensors
from orchestrator.models.base import AudioWindow, FeatureWindows, Frames, Infer, Licences, ModelSpec
from orchestrator.models.fade import Painted, faded
from orchestrator.models.wav2lip.face import (
    FACE_SIZE,
    Wav2LipFace,
    network_crop,
    paste_back,
    prepare_wav2lip_face,
)
from orchestrator.models.wav2lip.features import AHEAD_FRAMES, MEL, WINDOW_FRAMES


class Wav2Lip:
    """The head is `static`'s, blinking and swaying; the network generates its mouth.

    One network, one request per chunk.
    """

    spec = ModelSpec(
        model=LipSyncModel.WAV2LIP,
        triton_models=("wav2lip",),
        features=MEL,
        window=AudioWindow(frames=WINDOW_FRAMES, ahead_frames=AHEAD_FRAMES),
        quality=0.75,
        min_size=256,
        licences=Licences(code="ours", weights="research only", commercial=False),
    )

    def prepare(self, face: FaceModel, size: int) -> Wav2LipFace:
        """Box and mask of the face at `size`.

        Raises FACE_MODEL_INCOMPATIBLE where the landmarks hold no face.
        """
        try:
            return prepare_wav2lip_face(face, size)
        except ValueError as error:
            message = (
                f"face model {face.id!r} cannot be used with wav2lip: {error}; "
                "enrol a photo with a larger face"
            )
            raise LipSyncError(
                LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, message, recoverable=False
            ) from error

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: Wav2LipFace, state: Painted | None
    ) -> tuple[Frames, Painted | None]:
        """Generate frames; silent windows rest without the network, whose last mouth fades out."""
        speaking = ~windows.silent
        frames, crops = await in_frame_thread(_heads, face, windows.idle_s, speaking)
        patches = crops
        if len(crops):
            patches = (await infer("wav2lip", {"mel": windows.rows[speaking], "face": crops}))[
                "patch"
            ]
        layers = faded(windows, patches, state)
        if any(layers):
            await in_frame_thread(_paint, face, frames, layers)
        return frames, layers[-1]

    def probe_inputs(self) -> dict[str, Tensors]:
        """A black face in silence."""
        mel = np.zeros((1, WINDOW_FRAMES, MEL.n_mels), np.float32)
        return {"wav2lip": {"mel": mel, "face": np.zeros((1, FACE_SIZE, FACE_SIZE, 3), np.uint8)}}


def _heads(
    face: Wav2LipFace, idle_s: NDArray[np.float64], speaking: NDArray[np.bool_]
) -> tuple[Frames, NDArray[np.uint8]]:
    """Images of the resting face, and of the speaking ones `[m, 96, 96, 3]` for the network."""
    frames = face.head.resting(idle_s)
    crops = [network_crop(frame, face.box) for frame in frames[speaking]]
    return frames, np.stack(crops) if crops else np.empty((0, FACE_SIZE, FACE_SIZE, 3), np.uint8)


def _paint(face: Wav2LipFace, frames: Frames, layers: list[Painted | None]) -> None:
    for frame, layer in zip(frames, layers, strict=True):
        if layer is not None:
            paste_back(face, frame, layer.patch, layer.share)
