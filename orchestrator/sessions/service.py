"""LipSyncService: the specification's service as one object, for programs that use no socket.

    config = ServiceConfig(default_model=LipSyncModel.TPSM)
    async with LipSyncService("my-bucket", config) as service:
        response = await service.process_lip_sync(request)

Sessions over sockets share the directory and the pipeline. Their frames are paced; calls return
frames at once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from types import TracebackType
from typing import TypeAlias, overload

from orchestrator.audio.service import AudioFeatureService
from orchestrator.core.config import ServiceConfig
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import (
    AudioChunk,
    FaceModel,
    GeneratedFrame,
    LipSyncModel,
    StreamingFrame,
)
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.open_store import open_store
from orchestrator.inference import Inference
from orchestrator.inference.instrumented import TimedInference
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.open_inference import open_inference as opened_by_config
from orchestrator.inference.weights_provenance import WeightsRegister
from orchestrator.models import ADAPTERS
from orchestrator.models.base import ModelAdapter
from orchestrator.pipeline.benchmark import Benchmark, BenchmarkResult, GpuMemory, no_gpu
from orchestrator.pipeline.circuit_breaker import ModelPerformance
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.sessions.calls import Calls, LipSyncRequest, LipSyncResponse, ResponseMetrics
from orchestrator.sessions.directory import SessionDirectory
from orchestrator.sessions.monitoring import HealthStatus, monitored
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.streamer import VideoStreamingService

__all__ = [
    "HealthStatus",
    "LipSyncRequest",
    "LipSyncResponse",
    "LipSyncService",
    "OpenInference",
    "ResponseMetrics",
]

OpenInference: TypeAlias = Callable[[], AbstractAsyncContextManager[Inference]]
"""Opens the inference for the service's life: Triton, or this process."""


class LipSyncService:
    """Async context manager that owns all parts; one event loop uses it.

    Methods raise `LipSyncError` with the specification's codes.
    """

    def __init__(
        self,
        bucket_name: str = "",
        config: ServiceConfig | None = None,
        *,
        open_inference: OpenInference | None = None,
        adapters: Mapping[LipSyncModel, ModelAdapter] = ADAPTERS,
        metrics: Metrics | None = None,
    ) -> None:
        """Faces are stored in `bucket_name`, or else in `config.storage`.

        `open_inference` opens the inference. By default these are the Triton servers of the
        configuration, or else ONNX Runtime in this process.
        """
        self.config = config or ServiceConfig()
        self.metrics = metrics or Metrics()
        self.instance = secrets.token_hex(8)
        """Identifies this process among those of the service, and after a restart."""
        self.sessions = SessionDirectory(self)
        self._calls = Calls(self.sessions, self)
        self.store = open_store(self.config.storage, bucket_name or self.config.bucket)
        self.faces = _faces(self.config, self)
        self.faces.on_swap = self.sessions.swap_face
        self.audio = AudioFeatureService(
            cache_ttl_s=self.config.audio_feature_cache_ttl,
            model_repository=self.config.model_repository,
        )
        self.adapters = adapters
        self._open_inference = open_inference or partial(opened_by_config, self.config)
        self._gpu_memory: GpuMemory = no_gpu
        self._open = AsyncExitStack()

    async def __aenter__(self) -> LipSyncService:
        self._open.push_async_callback(self.store.close)
        self._open.push_async_callback(self.faces.close)
        inference = await self._open.enter_async_context(self._open_inference())
        self.video = VideoGeneratorService(
            TimedInference(inference, self.metrics), self._calls.waiting_frames
        )
        clock, adapts = asyncio.get_running_loop().time, self.config.enable_adaptive_bitrate
        self.streaming = VideoStreamingService(self._calls.stream_of, clock, adapts_bitrate=adapts)
        weights = WeightsRegister(read_repository(self.config.model_repository))
        self.pipeline = FramePipeline(
            self.config,
            self.adapters,
            self.faces,
            self.video,
            self.streaming,
            self.metrics,
            weights,
        )
        self.models = self.pipeline.models
        self._open.push_async_callback(self.pipeline.close)
        monitoring = monitored(self, self.sessions, self.adapters, inference)
        self._gpu_memory = await self._open.enter_async_context(monitoring)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def process_lip_sync(self, request: LipSyncRequest) -> LipSyncResponse:
        """Frames for one more chunk. The first request of a session opens it, unless its chunk
        cannot be decoded; the first after a turn's end begins a turn.
        """
        return await self._calls.process(request)

    async def end_utterance(self, session_id: str) -> LipSyncResponse:
        """Last frames of the turn, whose audio is complete: silence follows it."""
        return await self._calls.end_turn(session_id)

    async def select_model(
        self,
        session_id: str,
        preference: LipSyncModel | None = None,
        compatible: Sequence[LipSyncModel] | None = None,
    ) -> LipSyncModel:
        """The model that would generate the session's next frames, of those `compatible` with its
        face.
        """
        session = self._calls.session(session_id)
        preferred = session.models.preference if preference is None else preference
        return (
            await self.pipeline.rank(
                session, preferred, session.models.compatible if compatible is None else compatible
            )
        )[0]

    async def benchmark_models(
        self, face_model: FaceModel, test_audio: AudioChunk | Sequence[AudioChunk]
    ) -> list[BenchmarkResult]:
        """Benchmark every available model that the face supports over the same speech; one of them
        is recommended. Raises `LipSyncError` for speech that cannot be decoded.
        """
        chunks = [test_audio] if isinstance(test_audio, AudioChunk) else list(test_audio)
        compatible = self.faces.validate_compatibility(face_model).compatible_lip_sync_models
        ready = [
            self.adapters[model]
            for model in compatible
            if model in self.adapters and await self.models.available(model)
        ]
        benchmark = Benchmark(ready, self.faces, self.video, self.pipeline.performance)
        return await benchmark.run(face_model, chunks, self._gpu_memory)

    async def switch_model(self, session_id: str, new_model: LipSyncModel) -> None:
        """Prefer a model from the session's next frames on; while it is unavailable, the next best
        serves.
        """
        self.pipeline.prefer(self._calls.session(session_id), new_model)

    @overload
    def get_model_performance(self, model: LipSyncModel) -> ModelPerformance: ...

    @overload
    def get_model_performance(self, model: None = None) -> list[ModelPerformance]: ...

    def get_model_performance(
        self, model: LipSyncModel | None = None
    ) -> ModelPerformance | list[ModelPerformance]:
        """Figures of one model over its recent chunks, or of every model."""
        performance = self.pipeline.performance.performance
        return (
            [performance(each) for each in self.adapters] if model is None else performance(model)
        )

    async def get_health_status(self) -> HealthStatus:
        """State of sessions, GPU and models."""
        available = {model: await self.models.available(model) for model in self.adapters}
        return HealthStatus(
            is_healthy=available.get(self.config.default_model, False),
            active_sessions=len(self.sessions),
            gpu_available=self.models.gpu_available,
            available=available,
            performance={
                model: self.pipeline.performance.performance(model) for model in self.adapters
            },
            generation=self.video.get_metrics(),
        )

    async def prepare_for_streaming(
        self, session_id: str, frames: Sequence[GeneratedFrame]
    ) -> list[StreamingFrame]:
        """Frames encoded by the configuration of the last turn, with presentation timestamps; they
        count as sent.
        """
        session = self._calls.session(session_id)
        coded = await self.streaming.prepare_frames_for_streaming(
            session_id, frames, session.calls.config
        )
        waited_ms = (asyncio.get_running_loop().time() - session.audio.heard_s) * 1000.0
        for frame in coded:
            session.delivery.stream.metrics.sent(len(frame.data), waited_ms)
        return coded

    async def end_session(self, session_id: str) -> None:
        """Forget a session and free its resources; one that is not open is no error."""
        self._calls.end(session_id)


def _faces(config: ServiceConfig, service: LipSyncService) -> FaceModelCacheService:
    """Face cache; half of the memory is for photos, half for what models derive from them."""
    half_bytes = config.face_cache_mb * 1024 * 1024 // 2
    return FaceModelCacheService(
        service.store,
        max_faces=config.face_model_cache_size,
        max_face_bytes=half_bytes,
        max_derived=4 * config.face_model_cache_size,
        max_derived_bytes=half_bytes,
        encoding_deadline_s=config.face_encoding_deadline_ms / 1000.0,
    )
