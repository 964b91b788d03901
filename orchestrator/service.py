"""LipSyncService: the specification's service as one object, for programs that want frames without a socket.

    async with LipSyncService("my-bucket", ServiceConfig(default_model=LipSyncModel.TPSM)) as service:
        response = await service.process_lip_sync(request)

The WebSocket side works on the same sessions and the same pipeline; there `live` paces what this hands out at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

from orchestrator.audio.service import AudioFeatureService
from orchestrator.benchmarking import BenchmarkResult, benchmark
from orchestrator.config import ServiceConfig
from orchestrator.errors import invalid_field
from orchestrator.face.reported import ReportedStore
from orchestrator.face.service import FaceModelCacheService
from orchestrator.face.store import open_store
from orchestrator.inference import Inference
from orchestrator.inference.repository import read_repository
from orchestrator.inference.timed import TimedInference
from orchestrator.inference.triton_metrics import Accountable, TritonWatch
from orchestrator.inference.weights import WeightsRegister
from orchestrator.live import BATCH_FRAMES
from orchestrator.metrics import Metrics
from orchestrator.models import ADAPTERS
from orchestrator.models.base import ModelAdapter
from orchestrator.performance import ModelPerformance
from orchestrator.pipeline import FramePipeline
from orchestrator.session import OutgoingFrame, Session, SessionRegistry
from orchestrator.streaming.service import VideoStreamingService
from orchestrator.streaming.state import StreamState
from orchestrator.streaming.sync import SyncState, sync_state
from orchestrator.turn import Turn
from orchestrator.types import AudioChunk, FaceModel, GeneratedFrame, LipSyncModel, StreamingFrame, VideoGenerationConfig
from orchestrator.video.service import VideoGeneratorService

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


class LipSyncService:
    """An async context manager; one event loop owns it. Methods raise `LipSyncError` with the specification's codes."""

    def __init__(
        self,
        bucket_name: str = "",
        config: ServiceConfig | None = None,
        *,
        open_inference: OpenInference | None = None,
        message_of: Callable[[str, str, StreamingFrame], str] | None = None,
        adapters: Mapping[LipSyncModel, ModelAdapter] = ADAPTERS,
        metrics: Metrics | None = None,
    ) -> None:
        """Faces come from `bucket_name`, or from `config.storage`.

        `open_inference` opens what runs the networks, without it the Tritons of the configuration or this process;
        `message_of` writes a frame as the wire has it.
        """
        self.config = config or ServiceConfig()
        self.metrics = metrics or Metrics()
        self.sessions = SessionRegistry(self.config.max_concurrent_sessions, self.config.max_sessions_per_user)
        self.store = ReportedStore(open_store(self.config.storage, bucket_name or self.config.bucket))
        self.faces = _faces(self.config, self)
        self.audio = AudioFeatureService(cache_ttl_s=self.config.audio_feature_cache_ttl, model_repository=self.config.model_repository)
        self.adapters = adapters
        self._open_inference = open_inference or _opener(self.config)
        self._message_of = message_of
        self._open = AsyncExitStack()

    async def __aenter__(self) -> LipSyncService:
        self._open.push_async_callback(self.store.close)
        self._open.push_async_callback(self.faces.close)
        inference = await self._open.enter_async_context(self._open_inference())
        self.video = VideoGeneratorService(TimedInference(inference, self.metrics), self._waiting)
        self.streaming = VideoStreamingService(self._stream_of, self._message_of, clock=asyncio.get_running_loop().time)
        weights = WeightsRegister(read_repository(self.config.model_repository))
        self.pipeline = FramePipeline(self.config, self.adapters, self.faces, self.video, self.streaming, self.metrics, weights)
        self._open.push_async_callback(self.pipeline.close)
        self._watch(inference)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._open.aclose()

    async def process_lip_sync(self, request: LipSyncRequest) -> LipSyncResponse:
        """Frames for one more chunk; the first request of a session opens it, the first after a turn's end begins a turn."""
        session = self._session_for(request)
        async with session.working:
            session.preference = request.model_preference or session.preference
            await self.pipeline.open_face(session, request.face_model_id)
            turn = session.turn or await self._begin(session, request)
            turn.push(request.audio_chunk, asyncio.get_running_loop().time())
            return await self._respond(session, turn)

    async def end_utterance(self, session_id: str) -> LipSyncResponse:
        """The turn's audio is complete: its last frames, drawn with silence behind the end."""
        session = self._session(session_id)
        async with session.working:
            turn = session.turn
            if turn is None:
                raise invalid_field("sessionId", f"session {session_id!r} has no open turn; send audio first")
            turn.finish(asyncio.get_running_loop().time())
            response = await self._respond(session, turn)
            session.turn, session.idle_s = None, turn.end_idle_s
            return response

    async def select_model(
        self, session_id: str, preference: LipSyncModel | None = None, compatible: Sequence[LipSyncModel] | None = None
    ) -> LipSyncModel:
        """The model that would draw the session's next frames, of those that are `compatible` with its face."""
        session = self._session(session_id)
        asked = session.preference if preference is None else preference
        return (await self.pipeline.choice.ranking(session, asked, session.compatible if compatible is None else compatible))[0]

    async def benchmark_models(self, face_model: FaceModel, test_audio: AudioChunk | Sequence[AudioChunk]) -> list[BenchmarkResult]:
        """Every model that the face supports and that is ready, over the same speech; one of them is recommended."""
        chunks = [test_audio] if isinstance(test_audio, AudioChunk) else list(test_audio)
        compatible = self.faces.validate_compatibility(face_model).compatible_lip_sync_models
        ready = [self.adapters[model] for model in compatible if model in self.adapters and await self.pipeline.choice.available(model)]
        return await benchmark(ready, face_model, chunks, self.faces, self.video, self.pipeline.performance)

    async def switch_model(self, session_id: str, new_model: LipSyncModel) -> None:
        """Prefer a model from the session's next frames on; where it cannot draw, the next best does."""
        self._session(session_id).preference = new_model

    def get_model_performance(self, model: LipSyncModel | None = None) -> list[ModelPerformance]:
        """How one model, or every one, fared over its recent chunks."""
        return [self.pipeline.performance.performance(each) for each in ([model] if model else self.adapters)]

    async def get_health_status(self) -> HealthStatus:
        """Sessions, GPU, and each model's state."""
        available = {model: await self.pipeline.choice.available(model) for model in self.adapters}
        return HealthStatus(
            is_healthy=available.get(self.config.default_model, False),
            active_sessions=len(self.sessions),
            gpu_available=self.pipeline.choice.gpu_available,
            available=available,
            performance={model: self.pipeline.performance.performance(model) for model in self.adapters},
        )

    async def prepare_for_streaming(self, session_id: str, frames: Sequence[GeneratedFrame]) -> list[StreamingFrame]:
        """Frames coded for the client, as its turn's configuration says, with the time at which to show each."""
        session = self._session(session_id)
        config = session.turn.config if session.turn is not None else None
        return await self.streaming.prepare_frames_for_streaming(session_id, frames, config)

    async def end_session(self, session_id: str) -> None:
        """Forget a session and free what it holds; one that is not open is no error."""
        session = self.sessions.get(session_id)
        if session is not None:
            self.sessions.remove(session)

    async def _begin(self, session: Session, request: LipSyncRequest) -> Turn:
        config = request.config or VideoGenerationConfig()
        await self.pipeline.warm_up(session, config.resolution.width)
        session.turns += 1
        now = asyncio.get_running_loop().time()
        turn_id = f"turn-{session.turns:03d}"
        session.turn = Turn(turn_id, session.turns, config, request.audio_chunk.timestamp_ms, now, session.idle_s)
        return session.turn

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
        state = sync_state(shown_ms, shown_ms, session.stream.sync.correction_ms)
        return LipSyncResponse(session.id, frames, state, ResponseMetrics(took_ms, used, len(frames)))

    def _watch(self, inference: Inference) -> None:
        """Tasks that end with the service: the gauges, and what the Tritons say of themselves."""
        tasks = [asyncio.create_task(self._gauge(), name="set gauges")]
        if isinstance(inference, Accountable):
            watch = TritonWatch(inference, self.config.triton_metrics_urls, self.pipeline.choice.note_triton)
            tasks.append(asyncio.create_task(watch.run(self.config.performance_monitoring_interval), name="watch triton's metrics"))

        async def stop() -> None:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        self._open.push_async_callback(stop)

    async def _gauge(self) -> None:
        """Whoever reads the metrics may be answered by another process of this service: each keeps its own gauges up."""
        while True:
            self.metrics.sessions.set(len(self.sessions))
            self.metrics.speaking_sessions.set(self.sessions.speaking())
            for model in self.adapters:
                self.metrics.model_available.labels(model.value).set(await self.pipeline.choice.available(model))
            await asyncio.sleep(GAUGES_S)

    def _session_for(self, request: LipSyncRequest) -> Session:
        session = self.sessions.get(request.session_id)
        if session is None:
            session = Session(request.session_id, request.user_id, inbox_ms=self.config.inbox_ms, outbox_frames=self.config.outbox_frames)
            self.sessions.add(session)
        if session.user_id != request.user_id:
            raise invalid_field("userId", f"session {request.session_id!r} belongs to another user")
        return session

    def _session(self, session_id: str) -> Session:
        session = self.sessions.get(session_id)
        if session is None:
            raise invalid_field("sessionId", f"no session {session_id!r}; process_lip_sync opens one")
        return session

    def _waiting(self, session_id: str) -> list[StreamingFrame]:
        waiting = self._session(session_id).outbox.items()
        return [out.frame for out in waiting if isinstance(out, OutgoingFrame)]

    def _stream_of(self, session_id: str) -> StreamState | None:
        session = self.sessions.get(session_id)
        return None if session is None else session.stream


def _opener(config: ServiceConfig) -> OpenInference:
    def opened() -> AbstractAsyncContextManager[Inference]:
        from orchestrator.inference.local import LocalInference  # takes ONNX Runtime along, which a server's client does without
        from orchestrator.inference.triton import TritonInference

        repository = read_repository(config.model_repository)
        return TritonInference(config.triton_urls, repository) if config.triton_urls else LocalInference(repository)

    return opened


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
