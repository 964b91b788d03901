"""Which model draws next for a session, which are left out and why, and what the client is told of
it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import LipSyncModel
from orchestrator.faces.preparation.background import FacePreparations
from orchestrator.inference.triton.server_metrics import TritonFigures
from orchestrator.models.base import ModelAdapter, ModelSpec
from orchestrator.pipeline.circuit_breaker import ModelPerformance, PerformanceTracker
from orchestrator.pipeline.licence_policy import refused_models, refused_preference
from orchestrator.pipeline.selection_policy import Candidate, Reason, Situation, ranked
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.video.generator import VideoGeneratorService

logger = logging.getLogger(__name__)

SPARE_FACE_S: Final = 3.0
"""A model that nobody asked for has its faces encoded only when the better ones have been away for
this long: they may be away because the machine has too much to do.
"""

FIGURES_S: Final = 0.5
"""How long a model's figures are taken for current."""

CHUNK_MS: Final = 100.0
"""What a model's figures are compared for, however long its batches last."""

OBJECTIONS: Final = (Reason.POOR_QUALITY, Reason.TOO_SLOW, Reason.NO_GPU, Reason.LOW_BANDWIDTH)


@dataclass(frozen=True, slots=True)
class Switch:
    """The model changed between two frames of a session."""

    before: LipSyncModel
    after: LipSyncModel
    reason: str


class ModelChoice:
    """Asks the policy of `selection` with what is known of models, machine, face and client."""

    def __init__(
        self,
        config: ServiceConfig,
        adapters: Mapping[LipSyncModel, ModelAdapter],
        video: VideoGeneratorService,
        preparations: FacePreparations,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._adapters = adapters
        self._video = video
        self._preparations = preparations
        self._metrics = metrics
        self._refused = refused_models(adapters, commercial_safe=config.commercial_safe)
        self.performance = PerformanceTracker(
            {model: adapter.spec.quality for model, adapter in adapters.items()}
        )
        self._candidates: dict[LipSyncModel, tuple[float, Candidate]] = {}
        self.gpu_available = False
        """Whether a Triton reports a GPU."""

    def spec(self, model: LipSyncModel) -> ModelSpec:
        """What a model declares to need."""
        return self._adapters[model].spec

    async def select_model(self, session: Session) -> list[LipSyncModel]:
        """Candidates for the session's next frames, best first; those whose face is not prepared
        yet are left out.
        """
        return self._drawable(
            session,
            await self.ranking(session, session.models.preference, session.models.compatible),
        )

    async def ranking(
        self,
        session: Session,
        preference: LipSyncModel | None,
        compatible: Collection[LipSyncModel],
    ) -> list[LipSyncModel]:
        """The order that the policy gives, prepared face or not."""
        now = asyncio.get_running_loop().time()
        situation = Situation(
            default=self._config.default_model,
            chain=self._config.fallback_chain,
            preference=preference,
            adaptive=self._config.enable_adaptive_model_selection,
            bandwidth_kbps=session.delivery.bandwidth_kbps,
            gpu_available=self.gpu_available,
            chunk_ms=CHUNK_MS,
            current=session.models.current,
            drawn_s=now - session.models.since_s,
            giving_way=session.models.slow.models,
        )
        asked = {preference, self._config.default_model, *self._config.fallback_chain}
        usable = [
            model
            for model in compatible
            if model in asked and await self._is_usable(session, model, now)
        ]
        choices = ranked({model: self._candidate(model, now) for model in usable}, situation)
        session.models.reasons = {choice.model: choice.reason for choice in choices}
        return [choice.model for choice in choices]

    def _candidate(self, model: LipSyncModel, now: float) -> Candidate:
        """Every batch of every session asks, and percentiles of hundreds of latencies are dear:
        figures stand for a while.
        """
        known = self._candidates.get(model)
        if known is not None and now - known[0] < FIGURES_S:
            return known[1]
        spec, figures = self.spec(model), self.performance.performance(model)
        candidate = Candidate(
            quality=spec.quality * figures.success_rate,
            p95_ms=self._p95_ms(figures, now),
            needs_gpu=spec.gpu_memory_mb > 0,
            min_bandwidth_kbps=spec.min_bandwidth_kbps,
        )
        self._candidates[model] = (now, candidate)
        return candidate

    def _p95_ms(self, figures: ModelPerformance, now: float) -> float | None:
        """A batch's own latency holds its wait in Triton's queue. Of a model that has not drawn
        here for a while it says nothing of today's queue, which others may fill: then the wait that
        Triton reports counts on top.
        """
        if not figures.frames_per_second:
            return None
        is_old = (
            figures.updated_s is not None
            and now - figures.updated_s > self._config.performance_monitoring_interval
        )
        return CHUNK_MS * figures.p95_load + (figures.queue_ms or 0.0 if is_old else 0.0)

    def note_triton(self, figures: TritonFigures) -> None:
        """What the Tritons say of themselves; moves the choice and the metrics."""
        self.gpu_available = figures.has_gpu
        for model, adapter in self._adapters.items():
            loads = [
                figures.models[name]
                for name in adapter.spec.triton_models
                if name in figures.models
            ]
            held_mb = [
                figures.memory_mb[name]
                for name in adapter.spec.triton_models
                if name in figures.memory_mb
            ]
            on_gpu = figures.has_gpu and bool(adapter.spec.triton_models)
            self.performance.note_resources(
                model,
                queue_ms=sum(load.queue_ms for load in loads) if loads else None,
                gpu_utilization=figures.gpu_utilization if on_gpu else None,
                memory_mb=sum(held_mb) if held_mb else figures.gpu_used_mb if on_gpu else None,
            )
        self._publish(figures)

    def _publish(self, figures: TritonFigures) -> None:
        metrics = self._metrics
        for model, load in figures.models.items():
            metrics.triton_batch_size.labels(model).set(load.batch_size)
            metrics.triton_queue_seconds.labels(model).set(load.queue_ms / 1000.0)
        if figures.has_gpu:
            metrics.gpu_utilization_ratio.set(figures.gpu_utilization or 0.0)
            metrics.gpu_memory_used_bytes.set((figures.gpu_used_mb or 0.0) * 2**20)
            metrics.gpu_memory_total_bytes.set((figures.gpu_total_mb or 0.0) * 2**20)

    async def available(self, model: LipSyncModel) -> bool:
        """Whether sessions may use the model now."""
        adapter = self._adapters.get(model)
        permitted = (
            adapter is not None and model not in self._refused and self._config.serves(model)
        )
        return (
            permitted
            and self.performance.is_closed(model)
            and await self._video.ready(self._adapters[model])
        )

    def why_refused(self, model: LipSyncModel) -> str:
        """The operator's reason not to serve the model; empty where there is none."""
        return self._refused.get(model, "")

    async def refusal(self, session: Session) -> LipSyncError | None:
        """What the client is told of a preference that the operator refuses; None where there is
        nothing to tell.
        """
        wished = session.models.preference
        if wished is None or wished not in self._refused:
            return None
        alternative = (await self.select_model(session))[0]
        return refused_preference(
            wished, self._refused[wished], self.spec(wished).licences, alternative
        )

    async def why_unserved(self, session: Session, model: LipSyncModel) -> str:
        """What a client is told of a preference that is not served: the code of what speaks against
        it.
        """
        if model not in session.models.compatible:
            return LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE.value
        if model in session.models.slow.models:
            return Reason.TOO_SLOW.value
        opened_by = self.performance.opened_by(model)
        if opened_by is not None:
            return opened_by.value
        return "FACE_NOT_PREPARED" if await self.available(model) else "NOT_READY"

    def note_switch(
        self,
        session: Session,
        turn: Turn,
        model: LipSyncModel,
        failures: Mapping[LipSyncModel, LipSyncErrorCode],
    ) -> Switch | None:
        """The model draws now; a `Switch` where another one drew before."""
        before, session.models.current = session.models.current, model
        wish_before, session.models.current_preference = (
            session.models.current_preference,
            session.models.preference,
        )
        if before is None or before is model:
            return None
        turn.generation.switches += 1
        self._video.counter.model_switches += 1
        session.models.since_s = asyncio.get_running_loop().time()
        was_awaited = session.models.awaited_since_s.pop(model, None) is not None
        reason = self._switch_reason(
            session,
            before,
            model,
            failures,
            was_awaited=was_awaited,
            was_asked=wish_before is before,
        )
        self._metrics.fallbacks_total.labels(before.value, model.value, reason).inc()
        logger.info("session %s: %s -> %s (%s)", session.id, before.value, model.value, reason)
        return Switch(before, model, reason)

    def _switch_reason(
        self,
        session: Session,
        before: LipSyncModel,
        after: LipSyncModel,
        failures: Mapping[LipSyncModel, LipSyncErrorCode],
        *,
        was_awaited: bool,
        was_asked: bool,
    ) -> str:
        if before in failures:
            return failures[before].value
        opened_by = self.performance.opened_by(before)
        if opened_by is not None:
            return opened_by.value
        if was_awaited:
            return "FACE_PREPARED"
        if after is session.models.preference:
            return Reason.REQUESTED.value
        if session.models.reasons.get(before) in OBJECTIONS:
            return session.models.reasons[before].value
        if before is LipSyncModel.STATIC and was_asked:
            return session.models.reasons[after].value
        if before is LipSyncModel.STATIC:
            return "RECOVERED"
        return (
            session.models.reasons[after].value
            if before in session.models.reasons and after in session.models.reasons
            else "NOT_READY"
        )

    async def _is_usable(self, session: Session, model: LipSyncModel, now: float) -> bool:
        return session.models.excluded_until_s.get(model, 0.0) <= now and await self.available(
            model
        )

    def _drawable(self, session: Session, ranked: Sequence[LipSyncModel]) -> list[LipSyncModel]:
        """The models whose face is prepared; it is being prepared, from here on, for what ranks
        above the first of them.
        """
        if session.face.current is None:
            return list(ranked)
        now, found = asyncio.get_running_loop().time(), list[LipSyncModel]()
        for model in ranked:
            if self._preparations.is_ready(
                session.face.current, self._adapters[model], session.face.size
            ):
                found.append(model)
            elif found:
                session.models.awaited_since_s.pop(model, None)
            elif self._wants_face(session, model, now):
                self._preparations.start(
                    session.face.current, self._adapters[model], session.face.size
                )
        return found

    def _wants_face(self, session: Session, model: LipSyncModel, now: float) -> bool:
        since_s = session.models.awaited_since_s.setdefault(model, now)
        return (
            model in (session.models.preference, self._config.default_model)
            or now - since_s >= SPARE_FACE_S
        )
