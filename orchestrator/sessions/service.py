"""LipSyncService: the specification's service as one object, for programs that want frames without
a socket.

    config = ServiceConfig(default_model=LipSyncModel.TPSM)
    async with LipSyncService("my-bucket", config) as service:
        response = await service.process_lip_sync(request)

The WebSocket side works on the same sessions and the same pipeline; there `live` paces what this
hands out at once.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TypeAlias, overload

from orchestrator.audio.service import AudioFeatureService
from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import invalid_field
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import (
    AudioChunk,
    FaceModel,
    GeneratedFrame,
    LipSyncModel,
    StreamingFrame,
    VideoGenerationConfig,
)
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.open_store import open_store
from orchestrator.inference import Inference
from orchestrator.inference.instrumented import TimedInference
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.open_inference import open_inference as opened_by_config
from orchestrator.inference.triton.server_metrics import Accountable, TritonWatch
from orchestrator.inference.weights_provenance import WeightsRegister
from orchestrator.models import ADAPTERS
from orchestrator.models.base import ModelAdapter
from orchestrator.pipeline.benchmark import BenchmarkResult, GpuMemory, benchmark, no_gpu
from orchestrator.pipeline.capacity_probe import is_measured
from orchestrator.pipeline.circuit_breaker import ModelPerformance
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.pipeline.session_events import OutgoingFrame
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.sessions.admission import SessionRegistry
from orchestrator.sessions.worker import BATCH_FRAMES
from orchestrator.video.av_sync import SyncState, sync_state
from orchestrator.video.generation_metrics import GenerationMetrics
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.stream_state import StreamState
from orchestrator.video.streamer import VideoStreamingService

OpenInference: TypeAlias = Callable[[], AbstractAsyncContextManager[Inference]]
"""Opens the inference for the service's life: a Triton, or this process."""

GAUGES_S = 1.0
"""Between two settings of the gauges that nothing else sets."""


@dataclass(frozen=True, slots=True)
class LipSyncRequest:
    """One chunk of a session's speech."""

    session_id: str
    user_id: str
    audio_chunk: AudioChunk
    face_model_id: str | None = None
    """None: the user's active face, or the session's."""
    config: VideoGenerationConfig | None = None
    """Counts from the next turn on."""
    model_preference: LipSyncModel | None = None


@dataclass(frozen=True, slots=True)
class ResponseMetrics:
    """What one call took."""

    processing_time_ms: float
    model_used: LipSyncModel | None
    """None where no frame was due yet."""
    frames_generated: int


@dataclass(frozen=True, slots=True)
class LipSyncResponse:
    """The frames whose look-ahead is complete with this chunk."""

    session_id: str
    frames: list[GeneratedFrame]
    sync_state: SyncState
    """Of the newest frame: how far from its sound it is seen, by what `calculate_sync_state` was
    last told; 0 while it was told nothing.
    """
    metrics: ResponseMetrics


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """Whether the service can do its work."""

    is_healthy: bool
    """The default model answers; otherwise something lesser speaks."""
    active_sessions: int
    gpu_available: bool
    available: dict[LipSyncModel, bool]
    performance: dict[LipSyncModel, ModelPerformance]
    generation: GenerationMetrics
    """Of all sessions since the start."""


class LipSyncService:
    """An async context manager; one event loop owns it. Methods raise `LipSyncError` with the
    specification's codes.
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
        """Faces come from `bucket_name`, or from `config.storage`.

        `open_inference` opens what runs the networks, without it the Tritons of the configuration
        or this process.
        """
        self.config = config or ServiceConfig()
        self.metrics = metrics or Metrics()
        self.instance = secrets.token_hex(8)
        """Tells this process from the others of a service, and from the one before a restart."""
        self.sessions = SessionRegistry(
            self.config.max_concurrent_sessions, self.config.max_sessions_per_user
        )
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
        self.video = VideoGeneratorService(TimedInference(inference, self.metrics), self._waiting)
        clock, adapts = asyncio.get_running_loop().time, self.config.enable_adaptive_bitrate
        self.streaming = VideoStreamingService(self._stream_of, clock, adapts_bitrate=adapts)
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
        self._open.push_async_callback(self.pipeline.close)
        self._watch(inference)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def process_lip_sync(self, request: LipSyncRequest) -> LipSyncResponse:
        """Frames for one more chunk; the first request of a session opens it, the first after a
        turn's end begins a turn.

        A session whose first chunk cannot be used is not opened.
        """
        while True:
            session, opened = self._session_for(request)
            async with session.working:
                if self.sessions.get(session.id) is not session:
                    continue  # the request that opened it failed meanwhile
                try:
                    return await self._process(session, request)
                finally:
                    if opened and session.turns == 0:
                        self.sessions.remove(session)

    async def end_utterance(self, session_id: str) -> LipSyncResponse:
        """The turn's audio is complete: its last frames, drawn with silence behind the end."""
        session = self._session(session_id)
        async with session.working:
            turn = session.turn
            if turn is None:
                raise invalid_field(
                    "sessionId", f"session {session_id!r} has no open turn; send audio first"
                )
            turn.finish(asyncio.get_running_loop().time())
            response = await self._respond(session, turn)
            session.turn, session.idle_s = None, turn.end_idle_s
            return response

    async def select_model(
        self,
        session_id: str,
        preference: LipSyncModel | None = None,
        compatible: Sequence[LipSyncModel] | None = None,
    ) -> LipSyncModel:
        """The model that would draw the session's next frames, of those that are `compatible` with
        its face.
        """
        session = self._session(session_id)
        asked = session.preference if preference is None else preference
        return (
            await self.pipeline.choice.ranking(
                session, asked, session.compatible if compatible is None else compatible
            )
        )[0]

    async def benchmark_models(
        self, face_model: FaceModel, test_audio: AudioChunk | Sequence[AudioChunk]
    ) -> list[BenchmarkResult]:
        """Every model that the face supports and that is ready, over the same speech; one of them
        is recommended.

        Raises `LipSyncError` for speech that cannot be heard.
        """
        chunks = [test_audio] if isinstance(test_audio, AudioChunk) else list(test_audio)
        compatible = self.faces.validate_compatibility(face_model).compatible_lip_sync_models
        ready = [
            self.adapters[model]
            for model in compatible
            if model in self.adapters and await self.pipeline.choice.available(model)
        ]
        return await benchmark(
            ready,
            face_model,
            chunks,
            self.faces,
            self.video,
            self.pipeline.performance,
            self._gpu_memory,
        )

    async def switch_model(self, session_id: str, new_model: LipSyncModel) -> None:
        """Prefer a model from the session's next frames on; where it cannot draw, the next best
        does.
        """
        self._session(session_id).preference = new_model

    @overload
    def get_model_performance(self, model: LipSyncModel) -> ModelPerformance: ...

    @overload
    def get_model_performance(self, model: None = None) -> list[ModelPerformance]: ...

    def get_model_performance(
        self, model: LipSyncModel | None = None
    ) -> ModelPerformance | list[ModelPerformance]:
        """How one model fared over its recent chunks, or each of them."""
        performance = self.pipeline.performance.performance
        return (
            [performance(each) for each in self.adapters] if model is None else performance(model)
        )

    async def get_health_status(self) -> HealthStatus:
        """Sessions, GPU, and each model's state."""
        available = {model: await self.pipeline.choice.available(model) for model in self.adapters}
        return HealthStatus(
            is_healthy=available.get(self.config.default_model, False),
            active_sessions=len(self.sessions),
            gpu_available=self.pipeline.choice.gpu_available,
            available=available,
            performance={
                model: self.pipeline.performance.performance(model) for model in self.adapters
            },
            generation=self.video.get_metrics(),
        )

    async def prepare_for_streaming(
        self, session_id: str, frames: Sequence[GeneratedFrame]
    ) -> list[StreamingFrame]:
        """Frames coded for the client, as the configuration of the turn begun last says, with the
        time at which to show each.

        They count as sent.
        """
        session = self._session(session_id)
        coded = await self.streaming.prepare_frames_for_streaming(
            session_id, frames, session.config
        )
        waited_ms = (asyncio.get_running_loop().time() - session.heard_s) * 1000.0
        for frame in coded:
            session.stream.metrics.sent(len(frame.data), waited_ms)
        return coded

    async def end_session(self, session_id: str) -> None:
        """Forget a session and free what it holds; one that is not open is no error."""
        session = self.sessions.get(session_id)
        if session is not None:
            self.sessions.remove(session)

    async def _process(self, session: Session, request: LipSyncRequest) -> LipSyncResponse:
        now = asyncio.get_running_loop().time()
        session.preference = request.model_preference or session.preference
        await self.pipeline.open_face(session, request.face_model_id)
        turn = session.turn or await self._new_turn(session, request, now)
        turn.push(request.audio_chunk, now)
        session.turn, session.turns, session.config, session.heard_s = (
            turn,
            turn.ordinal,
            turn.config,
            now,
        )
        return await self._respond(session, turn)

    async def _new_turn(self, session: Session, request: LipSyncRequest, now: float) -> Turn:
        """The session's next turn, which begins once its first chunk is heard."""
        config, ordinal = request.config or VideoGenerationConfig(), session.turns + 1
        await self.pipeline.warm_up(session, config.resolution.width)
        return Turn(
            f"turn-{ordinal:03d}",
            ordinal,
            config,
            request.audio_chunk.timestamp_ms,
            now,
            session.idle_s,
        )

    async def _respond(self, session: Session, turn: Turn) -> LipSyncResponse:
        began_s, frames = asyncio.get_running_loop().time(), list[GeneratedFrame]()
        while True:
            models = await self.pipeline.choice.select_model(session)
            count = turn.frames_ready(self.pipeline.choice.spec(models[0]), BATCH_FRAMES)
            if count <= 0:
                break
            frames += (await self.pipeline.next_frames(session, turn, models, count)).frames
        shown_ms = frames[-1].audio_timestamp_ms if frames else turn.first_timestamp_ms
        took_ms = (asyncio.get_running_loop().time() - began_s) * 1000.0
        used = frames[-1].lip_sync_model if frames else None
        sync = session.stream.sync
        state = sync_state(shown_ms, shown_ms + sync.offset_ms, sync.correction_ms)
        return LipSyncResponse(
            session.id, frames, state, ResponseMetrics(took_ms, used, len(frames))
        )

    def _watch(self, inference: Inference) -> None:
        """Tasks that end with the service: the gauges, and what the Tritons say of themselves."""
        tasks = [asyncio.create_task(self._gauge(), name="set gauges")]
        if isinstance(inference, Accountable):
            watch = TritonWatch(
                inference, self.config.triton_metrics_urls, self.pipeline.choice.note_triton
            )
            self._gpu_memory = watch.gpu_used_mb
            tasks.append(
                asyncio.create_task(
                    watch.run(self.config.performance_monitoring_interval),
                    name="watch triton's metrics",
                )
            )

        async def stop() -> None:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        self._open.push_async_callback(stop)

    async def _gauge(self) -> None:
        """Set the gauges that nothing else sets, until cancelled."""
        self.metrics.session_slots.set(self.config.max_concurrent_sessions)
        if not is_measured(self.config):
            self.metrics.capacity_faces.set(math.nan)
        while True:
            self.metrics.sessions.set(len(self.sessions))
            self.metrics.speaking_sessions.set(self.sessions.speaking())
            self.metrics.buffered_frames.set(
                sum(len(self.video.get_buffered_frames(session.key)) for session in self.sessions)
            )
            for model in self.adapters:
                self.metrics.model_available.labels(model.value).set(
                    await self.pipeline.choice.available(model)
                )
            await asyncio.sleep(GAUGES_S)

    def _session_for(self, request: LipSyncRequest) -> tuple[Session, bool]:
        """The request's session, and whether it was opened for it."""
        session, config = self.sessions.get(request.session_id), self.config
        if session is None:
            session = Session(
                request.session_id,
                request.user_id,
                inbox_ms=config.inbox_ms,
                outbox_frames=config.outbox_frames,
            )
            self.sessions.add(session)
            return session, True
        if session.user_id != request.user_id:
            raise invalid_field("userId", f"session {request.session_id!r} belongs to another user")
        return session, False

    def _session(self, session_id: str) -> Session:
        session = self.sessions.get(session_id)
        if session is None:
            raise invalid_field(
                "sessionId", f"no session {session_id!r}; process_lip_sync opens one"
            )
        return session

    def _waiting(self, session_id: str) -> list[StreamingFrame]:
        waiting = self._session(session_id).outbox.items()
        return [out.frame for out in waiting if isinstance(out, OutgoingFrame)]

    def _stream_of(self, session_id: str) -> StreamState | None:
        session = self.sessions.get(session_id)
        return None if session is None else session.stream


def _faces(config: ServiceConfig, service: LipSyncService) -> FaceModelCacheService:
    """Half of the budget is for photos, half for what models derive from them."""
    half_bytes = config.face_cache_mb * 1024 * 1024 // 2
    return FaceModelCacheService(
        service.store,
        max_faces=config.face_model_cache_size,
        max_face_bytes=half_bytes,
        max_derived=4 * config.face_model_cache_size,
        max_derived_bytes=half_bytes,
        encoding_deadline_s=config.face_encoding_deadline_ms / 1000.0,
    )
