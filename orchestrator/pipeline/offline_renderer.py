"""A whole recording at once: the live path's own stages, with neither pacing nor a deadline that
hurries, nor a fallback.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import (
    AudioChunk,
    AudioFormat,
    LipSyncModel,
    Samples,
    VideoGenerationConfig,
)
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.inference import Inference
from orchestrator.inference.model_contract import Repository
from orchestrator.inference.weights_provenance import WeightsRegister
from orchestrator.models import ADAPTERS
from orchestrator.models.base import Frames
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.pipeline.licence_policy import best_permitted
from orchestrator.pipeline.model_availability import why_not
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.streamer import VideoStreamingService

CHUNK_S: Final = 1.0
BATCH_FRAMES: Final = 8
"""Within every model's largest batch."""

PATIENCE_MS: Final = 120_000
"""Nobody waits for the next frame, so only a model that hangs is given up."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What to draw."""

    user_id: str
    face_id: str
    model: LipSyncModel
    video: VideoGenerationConfig


class OfflineRenderer:
    """Draws every frame of a recording with one model or fails."""

    def __init__(
        self,
        config: ServiceConfig,
        faces: FaceModelCacheService,
        inference: Inference,
        repository: Repository,
        metrics: Metrics,
    ) -> None:
        """`metrics` are those of the service that it works for."""
        self._repository = repository
        self._inference = inference
        self._faces = faces
        patient = dataclasses.replace(config, chunk_deadline_ms=PATIENCE_MS)
        video = VideoGeneratorService(inference)
        weights = WeightsRegister(repository)
        self._pipeline = FramePipeline(
            patient, ADAPTERS, self._faces, video, VideoStreamingService(), metrics, weights
        )

    def weights_warning(self, model: LipSyncModel) -> str:
        """What has to be said with the model's name; empty for weights that somebody trained."""
        return self._pipeline.models.weights_warning(model)

    async def frames(self, wish: Wish, samples: Samples) -> AsyncGenerator[Frames, None]:
        """Batches `[n, size, size, 3]`, ceil(duration * fps) pictures in all. Raises
        `LipSyncError`.
        """
        await self._check(wish)
        session = Session("render", wish.user_id, inbox_ms=1.0, outbox_frames=1)
        await self._pipeline.faces.open_face(session, wish.face_id)
        assert session.face.current is not None
        await self._faces.optimize_for_model(
            session.face.current, ADAPTERS[wish.model], wish.video.resolution.width, self._inference
        )
        turn = Turn("render", 1, wish.video, 0.0, 0.0, 0.0)
        for chunk in as_chunks(samples):
            turn.push(chunk, 0.0)
            async for batch in self._ready_frames(session, turn, wish.model):
                yield batch
        turn.finish(0.0)
        async for batch in self._ready_frames(session, turn, wish.model):
            yield batch

    async def _ready_frames(
        self, session: Session, turn: Turn, model: LipSyncModel
    ) -> AsyncGenerator[Frames, None]:
        while batch := await self._pipeline.next_batch(
            session, turn, limit=BATCH_FRAMES, models=[model]
        ):
            yield np.stack([frame.image for frame in batch.frames])

    async def _check(self, wish: Wish) -> None:
        """Say what is missing before anything is drawn."""
        face = await self._faces.load_face_model(wish.user_id, wish.face_id)
        compatibility = self._faces.validate_compatibility(face)
        if reason := self._pipeline.models.why_refused(wish.model):
            better = best_permitted(ADAPTERS, compatibility.compatible_lip_sync_models)
            raise _unusable(
                wish.model, LipSyncErrorCode.MODEL_LOAD_FAILED, f"{reason}; use {better.value}"
            )
        if reason := why_not(wish.model, self._repository):
            raise _unusable(wish.model, LipSyncErrorCode.MODEL_LOAD_FAILED, reason)
        if not await self._pipeline.models.available(wish.model):
            raise _unusable(
                wish.model, LipSyncErrorCode.MODEL_LOAD_FAILED, "Triton does not have it ready"
            )
        if wish.model not in compatibility.compatible_lip_sync_models:
            issues = "; ".join(
                issue.message for issue in compatibility.issues if wish.model in issue.models
            )
            raise _unusable(
                wish.model,
                LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE,
                f"with face {face.id!r}: {issues}",
            )


def _unusable(model: LipSyncModel, code: LipSyncErrorCode, reason: str) -> LipSyncError:
    return LipSyncError(code, f"model {model.value} cannot be used: {reason}", recoverable=False)


def as_chunks(samples: Samples) -> list[AudioChunk]:
    """A 16 kHz signal as a client would send it."""
    step = round(CHUNK_S * SAMPLE_RATE_HZ)
    return [
        _pcm(samples[start : start + step], number)
        for number, start in enumerate(range(0, len(samples), step))
    ]


def _pcm(samples: NDArray[np.float32], number: int) -> AudioChunk:
    data = np.rint(samples * 32767.0).astype("<i2").tobytes()
    return AudioChunk(data, 1000.0 * CHUNK_S * number, number, SAMPLE_RATE_HZ, 1, AudioFormat.PCM)
