"""Scripted stand-ins for parts that a test makes fail; all other parts in the tests are real."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import (
    AudioChunk,
    AudioFormat,
    FaceModel,
    LipSyncModel,
    MelSpec,
    Resolution,
)
from orchestrator.faces.compatibility import Compatibility
from orchestrator.inference import Inference, Tensors
from orchestrator.models.base import (
    AudioWindow,
    FeatureWindows,
    Frames,
    Infer,
    Licences,
    ModelAdapter,
    ModelSpec,
    ModelState,
)
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.streamer import VideoStreamingService

OURS = Licences("ours", "ours", commercial=True)


@dataclass
class NothingInputs:
    """Prepared face of a scripted model."""

    size: int
    nbytes: int = 0


@dataclass
class ScriptedAdapter:
    """Draws grey pictures; each call takes the next step of the script: seconds to take, an error
    to raise, or a shape to answer.
    """

    model: LipSyncModel
    grey: int = 0
    ahead_frames: int = 10
    script: list[float | LipSyncErrorCode | Exception | tuple[int, ...]] = field(
        default_factory=list
    )
    windows_seen: list[FeatureWindows] = field(default_factory=list)
    frame_s: float = 0.0
    """What each picture takes besides."""
    spec: ModelSpec = field(init=False)

    def __post_init__(self) -> None:
        window = AudioWindow(frames=80, ahead_frames=self.ahead_frames)
        triton_models = () if self.model is LipSyncModel.STATIC else (self.model.value,)
        self.spec = ModelSpec(
            self.model,
            triton_models,
            MelSpec(),
            window,
            quality=0.5,
            min_size=0,
            licences=Licences("ours", "ours", commercial=True),
        )

    def prepare(self, face: FaceModel, size: int) -> NothingInputs:
        return NothingInputs(size)

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: Any, state: ModelState
    ) -> tuple[Frames, ModelState]:
        step = self.script.pop(0) if self.script else 0.0
        if isinstance(step, LipSyncErrorCode):
            raise LipSyncError(step, f"{self.model.value} was told to fail")
        if isinstance(step, Exception):
            raise step
        if isinstance(step, tuple):
            return np.zeros(step, np.uint8), state
        await asyncio.sleep(step + self.frame_s * len(windows))
        self.windows_seen.append(windows)
        return np.full((len(windows), face.size, face.size, 3), self.grey, np.uint8), state

    def probe_inputs(self) -> dict[str, Tensors]:
        return {name: {} for name in self.spec.triton_models}


class ScriptedInference:
    """Says which models are ready; answers canaries for those."""

    def __init__(self, ready: Iterable[str] = ()) -> None:
        self.ready_models = set(ready)

    async def infer(self, model: str, inputs: Tensors, *, deadline: float) -> dict[str, Any]:
        if model not in self.ready_models:
            raise LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, f"{model} is down")
        return {}

    async def ready(self, model: str) -> bool:
        return model in self.ready_models


def some_face(user_id: str = "user-1", face_id: str = "face-1") -> FaceModel:
    """A face without features, for models that do not look at it."""
    return FaceModel(
        face_id,
        user_id,
        Resolution(256, 256),
        (),
        np.zeros((256, 256, 3), np.uint8),
        90.0,
        "2026-01-01T00:00:00Z",
    )


class SomeFaces:
    """Every user has `face-1`, and every model can drive it."""

    def __init__(self, models: Iterable[LipSyncModel]) -> None:
        self._models = tuple(models)

    async def load_face_model(self, user_id: str, model_id: str | None = None) -> FaceModel:
        if model_id not in (None, "face-1", "face-2"):
            message = f"no face model {model_id!r} for user {user_id!r}"
            raise LipSyncError(
                LipSyncErrorCode.FACE_MODEL_NOT_FOUND,
                message,
                recoverable=False,
                details={"field": "faceModelId"},
            )
        return some_face(user_id, model_id or "face-1")

    def validate_compatibility(self, model: FaceModel) -> Compatibility:
        return Compatibility(model.id, self._models, self._models[0], ())

    async def optimize_for_model(
        self, face: FaceModel, adapter: ModelAdapter, size: int, inference: Inference | None = None
    ) -> Any:
        return adapter.prepare(face, size)


def scripted_service(
    adapters: Mapping[LipSyncModel, ScriptedAdapter],
    inference: ScriptedInference,
    config: ServiceConfig | None = None,
) -> FramePipeline:
    """The real service over scripted models."""
    faces: Any = SomeFaces(adapters)
    video = VideoGeneratorService(inference)
    return FramePipeline(
        config or ServiceConfig(), adapters, faces, video, VideoStreamingService(), Metrics()
    )


def pcm_chunk(
    seconds: float = 0.1, *, sequence_number: int = 0, timestamp_ms: float = 0.0, level: float = 0.3
) -> AudioChunk:
    """16 kHz mono tone."""
    time_s = np.arange(round(16_000 * seconds)) / 16_000
    samples = (level * 32767 * np.sin(2 * np.pi * 220 * time_s)).astype("<i2")
    return AudioChunk(samples.tobytes(), timestamp_ms, sequence_number, 16_000, 1, AudioFormat.PCM)
