"""The one frame loop: select a model, adapt to the load, generate, fall back, encode.

Live sessions, direct calls, recordings and benchmarks all take a turn's frames from
`FramePipeline.next_batch`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import GeneratedFrame, LipSyncModel, StreamingFrame
from orchestrator.faces.preparation.background import FacePreparations
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.inference.weights_provenance import WeightsRegister
from orchestrator.models.base import ModelAdapter, ModelSpec
from orchestrator.pipeline.batch_window import BatchWindow
from orchestrator.pipeline.circuit_breaker import PerformanceTracker
from orchestrator.pipeline.frame_generator import Due, FrameGenerator
from orchestrator.pipeline.model_catalogue import ModelCatalogue
from orchestrator.pipeline.model_selector import ModelSelector
from orchestrator.pipeline.model_switch import Switch
from orchestrator.pipeline.recovery_probes import Probes
from orchestrator.pipeline.session_faces import SessionFaces, all_failed, face_of
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.video.adaptation.quality_controller import DueFrames
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.streamer import VideoStreamingService

Notify: TypeAlias = Callable[[Switch], Awaitable[None]]
"""Receives the notification that a preferred model is not served."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive frames of one model; none where all frames that were due were skipped."""

    frames: Sequence[GeneratedFrame] = ()
    departures_s: Sequence[float] = ()
    """Time from which each frame could leave; see `PresentationClock.departures_s`."""
    switch: Switch | None = None
    is_last: bool = False
    """True if no further frame of this model is due."""


class FramePipeline:
    """Joins faces, models and pictures; every wait below it has a deadline."""

    def __init__(
        self,
        config: ServiceConfig,
        adapters: Mapping[LipSyncModel, ModelAdapter],
        faces: FaceModelCacheService,
        video: VideoGeneratorService,
        streaming: VideoStreamingService,
        metrics: Metrics,
        weights: WeightsRegister | None = None,
        performance: PerformanceTracker | None = None,
    ) -> None:
        """`performance` collects the results of the models; a new tracker without it."""
        self._config = config
        self._adapters = adapters
        self._video = video
        self._streaming = streaming
        self._preparations = FacePreparations(faces, video.inference, metrics)
        self.models = ModelCatalogue(config, adapters, video, metrics, weights, performance)
        self._selector = ModelSelector(config, adapters, self.models, self._preparations, metrics)
        self.faces = SessionFaces(
            adapters, faces, video, self._preparations, self.models, self._selector
        )
        self._generator = FrameGenerator(
            config, adapters, faces, video, self.models.performance, metrics
        )
        self.metrics = metrics
        self.batch_window = BatchWindow(config.batch_window_ms)

    async def close(self) -> None:
        """Cancel the preparations in the background."""
        await self._preparations.close()

    @property
    def performance(self) -> PerformanceTracker:
        """Results of the models, with their circuit breakers."""
        return self.models.performance

    def prefer(self, session: Session, model: LipSyncModel) -> bool:
        """Prefer a model from the next frame on; False where the session prefers it already."""
        return self._selector.prefer(session, model)

    def note_first_model(self, session: Session, model: LipSyncModel) -> None:
        """Record the model that a session's first turn announces."""
        self._selector.note_first(session, model)

    async def refusal(self, session: Session) -> LipSyncError | None:
        """Error for a preference that the operator refuses; None where it is served."""
        return await self._selector.refusal(session)

    async def rank(
        self,
        session: Session,
        preference: LipSyncModel | None,
        compatible: Collection[LipSyncModel],
    ) -> list[LipSyncModel]:
        """Models of `compatible` that could generate the next frames, best first."""
        return await self._selector.rank(session, preference, compatible)

    async def next_batch(
        self,
        session: Session,
        turn: Turn,
        *,
        limit: int,
        models: Sequence[LipSyncModel] | None = None,
        notify: Notify | None = None,
    ) -> Batch | None:
        """Up to `limit` frames of the turn from the best model that can generate them; None while
        no frame has its look-ahead.

        Candidates are `models`, best first, or else those that selection gives. If a model fails,
        the next one generates the same frames. A turn whose clock is paced skips frames that client
        or model cannot keep up with, and waits until the batch may leave. Raises
        VIDEO_GENERATION_FAILED if every candidate fails; the turn's cursor then stays.
        """
        candidates = models or await self._candidates(session, notify)
        spec = self.models.spec(candidates[0])
        count = turn.frames_ready(spec, limit)
        if count <= 0:
            return None
        kept = self._kept(session, turn, count, spec) if turn.clock.is_paced else range(count)
        if not kept:
            return Batch()
        await _until_due(turn, count)
        able = [
            model
            for model in candidates
            if turn.frames_ready(self.models.spec(model), count) >= count
        ]
        slots = [turn.next_frame + offset for offset in kept]
        frames, switch = await self._generated(session, turn, able, Due(count, kept))
        departures_s = turn.clock.departures_s(slots, turn.next_frame - 1, spec)
        return Batch(frames, departures_s, switch, count < limit and switch is None)

    async def _candidates(self, session: Session, notify: Notify | None) -> list[LipSyncModel]:
        candidates = await self._selector.select_model(session)
        if notify is not None:
            unserved = await self._selector.unserved_preference(session, candidates[0])
            if unserved is not None:
                await notify(unserved)
        return candidates

    def _kept(self, session: Session, turn: Turn, count: int, spec: ModelSpec) -> list[int]:
        """Offsets of the next `count` frames to generate. Frames that are all left out, or that are
        stale, are skipped at once.
        """
        clock, now = turn.clock, asyncio.get_running_loop().time()
        stale = clock.stale_frames(turn.next_frame, count, spec, session.delivery.stale_before_s)
        if stale:
            turn.skip(stale)
            return []
        late_s = now - clock.ready_s(turn.next_frame, spec)
        self._selector.note_lateness(session, turn, late_s, now)
        kept = self._adapted(session, turn, count, late_s, now)
        if not kept:
            turn.skip(count)
        return kept

    def _adapted(
        self, session: Session, turn: Turn, count: int, late_s: float, now: float
    ) -> list[int]:
        """Offsets of the frames to generate that client and model can keep up with."""
        stream, fill = session.delivery.stream, session.delivery.outbox.fill
        numbers = range(turn.next_frame, turn.next_frame + count)
        due = DueFrames(
            turn.next_frame,
            [turn.clock.audio_timestamp_ms(number) for number in numbers],
            turn.fps,
            turn.config.format,
            stream.since_keyframe,
        )
        decision = stream.decide(
            due,
            now,
            queue_fill=fill,
            batch_load=turn.generation.batch_load,
            late_s=late_s,
            adapts_bitrate=self._config.enable_adaptive_bitrate,
        )
        if skipped := count - len(decision.keep):
            self._video.counter.frames_dropped += skipped
            self.metrics.frames_dropped_total.labels("congestion").inc(skipped)
        return decision.keep

    async def _generated(
        self, session: Session, turn: Turn, models: Sequence[LipSyncModel], due: Due
    ) -> tuple[list[GeneratedFrame], Switch | None]:
        """Frames from the first of `models` that is prepared and does not fail."""
        failures: dict[LipSyncModel, LipSyncErrorCode] = {}
        face, size = face_of(session), turn.config.resolution.width
        for model in models:
            if not self._preparations.is_ready(face, self._adapters[model], size):
                continue
            try:
                made = await self._generator.generate(turn, face, model, due)
            except LipSyncError as error:
                failures[model] = error.code
                self._selector.note_failure(session, model, error)
                continue
            switch = self._selector.note_success(session, turn, model, failures)
            self._video.counter.model_switches += switch is not None
            is_switch = switch is not None
            return self._generator.complete(turn, model, due, made, switched=is_switch), switch
        raise all_failed(failures)

    async def encode(
        self, session: Session, turn: Turn, batch: Batch, *, force_keyframe: bool = False
    ) -> list[StreamingFrame]:
        """Encoded frames of a batch; a turn begins with a keyframe, and so does another model."""
        begins = batch.frames[0].sequence_number == 0 or batch.switch is not None
        with self.metrics.stage("encode", turn.config.format.value):
            return await self._streaming.code(
                session.delivery.stream,
                batch.frames,
                turn.config,
                force_keyframe=force_keyframe or begins,
            )

    def note_underrun(self) -> None:
        """Count a frame that left more than its own duration after it could have: the viewer's
        buffer shrank.
        """
        self._video.counter.buffer_underruns += 1
        self.metrics.buffer_underruns_total.inc()

    async def probe_failed_models(self) -> None:
        """Probe models whose circuit is open until they respond; runs for the service's life."""
        await Probes(
            self._adapters, self._video, self.performance, self._config.chunk_deadline_ms / 1000.0
        ).run()


async def _until_due(turn: Turn, count: int) -> None:
    """Wait until the last of the next `count` frames may leave: audio that came in a burst must not
    flood the client.
    """
    wait_s = turn.clock.due_s(turn.next_frame + count - 1) - asyncio.get_running_loop().time()
    if wait_s > 0.0:
        await asyncio.sleep(wait_s)
