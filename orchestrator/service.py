"""LipSyncService: the next frames of a turn, from the best model that can draw them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.config import ServiceConfig
from orchestrator.errors import LipSyncError, LipSyncErrorCode
from orchestrator.face.preparations import FacePreparations
from orchestrator.face.service import FaceModelCacheService
from orchestrator.inference.weights import Weights, WeightsRegister, warning_of
from orchestrator.licences import refused_models, refused_preference
from orchestrator.metrics import Metrics
from orchestrator.models.base import ModelAdapter, ModelSpec
from orchestrator.performance import SHARED_FAILURES, PerformanceTracker
from orchestrator.probes import Probes
from orchestrator.selection import Candidate, Situation, ranked
from orchestrator.session import Session
from orchestrator.streaming.congestion import kept_frames
from orchestrator.streaming.service import VideoStreamingService
from orchestrator.turn import Turn
from orchestrator.types import FaceModel, GeneratedFrame, LipSyncModel, RgbImage, StreamingFrame
from orchestrator.video.frame_rate import after_load, is_kept
from orchestrator.video.service import VideoGeneratorService, cross_fade

logger = logging.getLogger(__name__)

EXCLUSION_S: Final = 5.0
"""A model that failed on one session's own face or audio is not tried again by that session for this long."""

STORED_FACE_S: Final = 0.25
"""A turn's begin waits this long for a model whose face is prepared only now: enough where a stored encoding is read back."""

SPARE_FACE_S: Final = 3.0
"""A model that nobody asked for has its faces encoded only when the better ones have been away for this long: they may be
away because the machine has too much to do."""


@dataclass(frozen=True, slots=True)
class Switch:
    """The model changed between two frames of a session."""

    before: LipSyncModel
    after: LipSyncModel
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive frames from one model."""

    frames: list[GeneratedFrame]
    switch: Switch | None


class LipSyncService:
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
    ) -> None:
        self._config = config
        self._adapters = adapters
        self._faces = faces
        self._video = video
        self._streaming = streaming
        self._metrics = metrics
        self._weights = weights
        self._refused = refused_models(adapters, commercial_safe=config.commercial_safe)
        self._preparations = FacePreparations(faces, video.inference, metrics)
        self.performance = PerformanceTracker()
        self.gpu_available = False
        """Whether a Triton reports a GPU."""

    async def close(self) -> None:
        """End what goes on beside the sessions."""
        await self._preparations.close()

    async def open_face(self, session: Session, face_model_id: str | None) -> None:
        """Give the session a face, prepared for its first model and for the last resort."""
        if session.face is not None and face_model_id in (None, session.face.id):
            return
        face = await self._faces.load_face_model(session.user_id, face_model_id)
        session.face, session.compatible = face, self._faces.validate_compatibility(face).compatible_lip_sync_models
        session.awaited_since_s.clear()

    async def warm_up(self, session: Session, size: int) -> LipSyncModel:
        """Derive what the likely models need of the face, so that neither the first frame nor a fallback waits; the first candidate."""
        face, session.size = _face_of(session), size
        known = frozenset(session.awaited_since_s)
        models = await self.select_model(session)
        if session.awaited_since_s.keys() - known:
            await self._preparations.wait(face, session.awaited_since_s, STORED_FACE_S)
            models = await self.select_model(session)
        await self.prepare_face(face, (models[0], LipSyncModel.STATIC), size)
        return models[0]

    async def prepare_face(self, face: FaceModel, models: Iterable[LipSyncModel], size: int) -> None:
        """Derive what these models need of a face, ahead of its first frame; what takes networks goes on in the background."""
        for model in dict.fromkeys(models):
            adapter = self._adapters[model]
            if self._preparations.is_ready(face, adapter, size):
                await self._faces.optimize_for_model(face, adapter, size)
            elif await self.available(model):
                self._preparations.start(face, adapter, size)

    def spec(self, model: LipSyncModel) -> ModelSpec:
        """What a model declares to need."""
        return self._adapters[model].spec

    async def select_model(self, session: Session) -> list[LipSyncModel]:
        """Candidates for the session's next frames, best first; those whose face is not prepared yet are left out."""
        now = asyncio.get_running_loop().time()
        situation = Situation(
            default=self._config.default_model,
            chain=self._config.fallback_chain,
            preference=session.preference,
            adaptive=self._config.enable_adaptive_model_selection,
            bandwidth_kbps=session.bandwidth_kbps,
            gpu_available=self.gpu_available,
            current=session.model,
            drawn_s=now - session.model_since_s,
        )
        choices = ranked({model: self._candidate(model) for model in await self._usable(session)}, situation)
        return self._drawable(session, [choice.model for choice in choices])

    def _candidate(self, model: LipSyncModel) -> Candidate:
        spec, figures = self.spec(model), self.performance.performance(model)
        return Candidate(
            quality=spec.quality * figures.success_rate,
            p95_ms=figures.p95_latency_ms if figures.frames_per_second else None,
            needs_gpu=spec.gpu_memory_mb > 0,
            min_bandwidth_kbps=spec.min_bandwidth_kbps,
        )

    def kept_frames(self, session: Session, turn: Turn, count: int) -> list[int]:
        """Which of the next `count` frames are drawn: all, unless client or model cannot keep up."""
        now, fill = asyncio.get_running_loop().time(), session.outbox.fill
        self._streaming.adapt_to_queue(session.stream, fill, now)
        session.frame_rate = after_load(session.frame_rate, fill, now)
        fps = session.frame_rate.fps(turn.fps)
        wanted = [offset for offset in range(count) if is_kept(turn.next_frame + offset, turn.fps, fps)]
        return kept_frames(wanted, fill, session.stream.since_keyframe)

    async def why_unserved(self, session: Session, model: LipSyncModel) -> str:
        """What a client is told of a preference that is not served: the code of what speaks against it."""
        if model in self._refused:
            return "LICENCE_REFUSED"
        if model not in session.compatible:
            return LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE.value
        opened_by = self.performance.opened_by(model)
        if opened_by is not None:
            return opened_by.value
        return "FACE_NOT_PREPARED" if await self.available(model) else "NOT_READY"

    async def next_frames(
        self, session: Session, turn: Turn, models: Sequence[LipSyncModel], count: int, kept: Sequence[int] | None = None
    ) -> Batch:
        """The turn's next `count` frames, or those `kept` of them, all from the first of `models` that can draw them.

        The cursor moves only on success.
        """
        offsets = range(count) if kept is None else kept
        loop = asyncio.get_running_loop()
        failures: dict[LipSyncModel, LipSyncErrorCode] = {}
        for model in models:
            if not self._is_prepared(session, turn, model) or turn.frames_ready(self._adapters[model].spec, count) < count:
                continue
            started_s = loop.time()
            try:
                images = await self._draw(session, turn, model, count, offsets)
            except LipSyncError as error:
                failures[model] = error.code
                self._record_failure(session, model, error, loop.time())
                continue
            elapsed_ms = (loop.time() - started_s) * 1000.0
            self.performance.record_success(model, elapsed_ms, len(images), loop.time())
            self._metrics.stage_seconds.labels("generate", model.value).observe(elapsed_ms / 1000.0)
            switch = self._note_switch(session, turn, model, failures)
            if switch is not None and turn.last_image is not None and turn.last_image.shape == images[0].shape:
                images = cross_fade(turn.last_image, images)
            return Batch(turn.advance(images, model, elapsed_ms / len(images), offsets, count), switch)
        raise LipSyncError(
            LipSyncErrorCode.VIDEO_GENERATION_FAILED,
            "every candidate failed",
            details={model.value: code.value for model, code in failures.items()},
        )

    async def prepare_for_streaming(
        self, session: Session, turn: Turn, frames: list[GeneratedFrame], *, force_keyframe: bool = False
    ) -> list[StreamingFrame]:
        """Coded frames; a turn begins with a keyframe, and so does another model."""
        loop = asyncio.get_running_loop()
        started_s, is_first = loop.time(), frames[0].sequence_number == 0
        coded = await self._streaming.code(session.stream, frames, turn.config, force_keyframe=force_keyframe or is_first)
        self._metrics.stage_seconds.labels("encode", turn.config.format.value).observe(loop.time() - started_s)
        return coded

    async def probe_failed_models(self) -> None:
        """Ask models whose circuit is open whether they are back; runs as a task for the service's whole life."""
        await Probes(self._adapters, self._video, self.performance, self._config.chunk_deadline_ms / 1000.0).run()

    async def available(self, model: LipSyncModel) -> bool:
        """Whether sessions may use the model now."""
        adapter = self._adapters.get(model)
        permitted = adapter is not None and model not in self._refused and self._config.serves(model)
        return permitted and self.performance.is_closed(model) and await self._video.ready(self._adapters[model])

    def why_refused(self, model: LipSyncModel) -> str:
        """The operator's reason not to serve the model; empty where there is none."""
        return self._refused.get(model, "")

    async def refusal(self, session: Session) -> LipSyncError | None:
        """What the client is told of a preference that the operator refuses; None where there is nothing to tell."""
        wished = session.preference
        if wished is None or wished not in self._refused:
            return None
        alternative = (await self.select_model(session))[0]
        return refused_preference(wished, self._refused[wished], self.spec(wished).licences, alternative)

    def weights(self, model: LipSyncModel) -> tuple[Weights, ...]:
        """Whose weights the model's networks have, of those whose files lie here."""
        return self._weights.of(self.spec(model).triton_models) if self._weights is not None else ()

    def weights_warning(self, model: LipSyncModel) -> str:
        """What has to be said with the model's name; empty for weights that somebody trained."""
        return warning_of(self.weights(model))

    async def _draw(self, session: Session, turn: Turn, model: LipSyncModel, count: int, kept: Sequence[int]) -> list[RgbImage]:
        adapter = self._adapters[model]
        face = await self._faces.optimize_for_model(_face_of(session), adapter, turn.config.resolution.width)
        windows = turn.windows(adapter.spec, count, kept)
        deadline = math.inf
        if adapter.spec.triton_models:  # the last resort is drawn in this process: late is better than nothing
            deadline = asyncio.get_running_loop().time() + self._config.chunk_deadline_ms / 1000.0
        images, turn.states[model] = await self._video.generate_frames(adapter, windows, face, turn.states.get(model), deadline=deadline)
        return images

    def _drawable(self, session: Session, ranked: Sequence[LipSyncModel]) -> list[LipSyncModel]:
        """The models whose face is prepared; it is being prepared, from here on, for what ranks above the first of them."""
        if session.face is None:
            return list(ranked)
        now, found = asyncio.get_running_loop().time(), list[LipSyncModel]()
        for model in ranked:
            if self._preparations.is_ready(session.face, self._adapters[model], session.size):
                found.append(model)
            elif found:
                session.awaited_since_s.pop(model, None)
            elif self._wants_face(session, model, now):
                self._preparations.start(session.face, self._adapters[model], session.size)
        return found

    def _wants_face(self, session: Session, model: LipSyncModel, now: float) -> bool:
        since_s = session.awaited_since_s.setdefault(model, now)
        return model in (session.preference, self._config.default_model) or now - since_s >= SPARE_FACE_S

    def _is_prepared(self, session: Session, turn: Turn, model: LipSyncModel) -> bool:
        return self._preparations.is_ready(_face_of(session), self._adapters[model], turn.config.resolution.width)

    async def _usable(self, session: Session) -> set[LipSyncModel]:
        now = asyncio.get_running_loop().time()
        return {model for model in session.compatible if session.excluded_until_s.get(model, 0.0) <= now and await self.available(model)}

    def _record_failure(self, session: Session, model: LipSyncModel, error: LipSyncError, now: float) -> None:
        logger.warning("session %s: %s failed: %s: %s", session.id, model.value, error.code.value, error.message)
        self.performance.record_failure(model, error.code, now)
        if error.code not in SHARED_FAILURES:
            session.excluded_until_s[model] = now + EXCLUSION_S

    def _note_switch(
        self, session: Session, turn: Turn, model: LipSyncModel, failures: Mapping[LipSyncModel, LipSyncErrorCode]
    ) -> Switch | None:
        before, session.model = session.model, model
        if before is None or before is model:
            return None
        turn.switches += 1
        session.model_since_s = asyncio.get_running_loop().time()
        was_awaited = session.awaited_since_s.pop(model, None) is not None
        reason = self._switch_reason(before, model, session.preference, failures, was_awaited=was_awaited)
        self._metrics.fallbacks_total.labels(before.value, model.value, reason).inc()
        logger.info("session %s: %s -> %s (%s)", session.id, before.value, model.value, reason)
        return Switch(before, model, reason)

    def _switch_reason(
        self,
        before: LipSyncModel,
        after: LipSyncModel,
        preference: LipSyncModel | None,
        failures: Mapping[LipSyncModel, LipSyncErrorCode],
        *,
        was_awaited: bool,
    ) -> str:
        if before in failures:
            return failures[before].value
        opened_by = self.performance.opened_by(before)
        if opened_by is not None:
            return opened_by.value
        if was_awaited:
            return "FACE_PREPARED"
        if after is preference:
            return "REQUESTED"
        return "RECOVERED" if before is LipSyncModel.STATIC else "NOT_READY"


def _face_of(session: Session) -> FaceModel:
    if session.face is None:
        raise LipSyncError(LipSyncErrorCode.FACE_MODEL_NOT_FOUND, "the session has no face model yet", recoverable=False)
    return session.face
