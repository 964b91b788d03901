"""Stateful model selection of the sessions: candidates, switches, failures and notifications.

`ModelSelector` is the only writer of a session's `ModelState`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import LipSyncModel
from orchestrator.faces.preparation.background import FacePreparations
from orchestrator.models.base import ModelAdapter
from orchestrator.pipeline.circuit_breaker import SHARED_FAILURES
from orchestrator.pipeline.licence_policy import refused_preference
from orchestrator.pipeline.model_catalogue import CHUNK_MS, ModelCatalogue
from orchestrator.pipeline.model_switch import (
    FACE_NOT_PREPARED,
    NOT_READY,
    Switch,
    SwitchContext,
    switch_reason,
)
from orchestrator.pipeline.selection_policy import Reason, SelectionContext, ranked
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.slow_model_policy import Backlog, SlowModels, update
from orchestrator.pipeline.turn import Turn

logger = logging.getLogger(__name__)

SPARE_FACE_S: Final = 3.0
"""A fallback's face encoding starts only when the better models were away for this long: they may
be away because the machine is overloaded.
"""

EXCLUSION_S: Final = 4.0
"""Time for which a session does not try a model again that failed on the session's own face or
audio.
"""


class ModelSelector:
    """Applies the selection policy to models, machine, face and client of a session."""

    def __init__(
        self,
        config: ServiceConfig,
        adapters: Mapping[LipSyncModel, ModelAdapter],
        catalogue: ModelCatalogue,
        preparations: FacePreparations,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._adapters = adapters
        self._catalogue = catalogue
        self._preparations = preparations
        self._metrics = metrics

    async def select_model(self, session: Session) -> list[LipSyncModel]:
        """Candidates for the session's next frames, best first; models whose face is not prepared
        are left out.
        """
        state = session.models
        return self._prepared(session, await self.rank(session, state.preference, state.compatible))

    async def rank(
        self,
        session: Session,
        preference: LipSyncModel | None,
        compatible: Collection[LipSyncModel],
    ) -> list[LipSyncModel]:
        """Order of the policy for the usable models of `compatible`, prepared face or not."""
        now, state = asyncio.get_running_loop().time(), session.models
        context = SelectionContext(
            default=self._config.default_model,
            chain=self._config.fallback_chain,
            preference=preference,
            adaptive=self._config.enable_adaptive_model_selection,
            bandwidth_kbps=session.delivery.bandwidth_kbps,
            gpu_available=self._catalogue.gpu_available,
            chunk_ms=CHUNK_MS,
            current=state.current,
            drawn_s=now - state.since_s,
            benched=state.slow.models,
        )
        listed = {preference, self._config.default_model, *self._config.fallback_chain}
        usable = [
            model
            for model in compatible
            if model in listed and await self._is_usable(session, model, now)
        ]
        order = ranked({model: self._catalogue.candidate(model) for model in usable}, context)
        state.reasons = {each.model: each.reason for each in order}
        return [each.model for each in order]

    def prefer(self, session: Session, model: LipSyncModel) -> bool:
        """Prefer a model from the next frame on; False where the session prefers it already."""
        changed = model is not session.models.preference
        session.models.preference = model
        return changed

    def note_first(self, session: Session, model: LipSyncModel) -> None:
        """Record the model announced for a session that has no frames yet."""
        session.models.current = session.models.current or model

    def note_face(self, session: Session, compatible: Sequence[LipSyncModel]) -> None:
        """Record that the session has another face, which `compatible` models can use."""
        session.models.compatible = tuple(compatible)
        session.models.awaited_since_s.clear()

    def note_turn(self, session: Session) -> None:
        """Let benched models generate again if a turn begins without a backlog."""
        if len(session.audio.inbox) == 0:
            session.models.slow = SlowModels()

    def note_lateness(self, session: Session, turn: Turn, late_s: float, now: float) -> None:
        """Bench the current model if its frames are so late that audio may be dropped."""
        audio = session.audio
        backlog = Backlog(
            late_s,
            audio.inbox.fill,
            audio.inbox_s,
            audio.is_heard(now),
            turn.generation.batch_load,
        )
        session.models.slow = update(session.models.slow, backlog, turn.generation.model, now)

    def note_failure(self, session: Session, model: LipSyncModel, error: LipSyncError) -> None:
        """Count a failure, and exclude the model from this session if its face or audio may be the
        cause: a face that it cannot use until another one is set, else for `EXCLUSION_S`.
        """
        now, state = asyncio.get_running_loop().time(), session.models
        logger.warning(
            "session %s: %s failed: %s: %s",
            session.id,
            model.value,
            error.code.value,
            error.message,
        )
        self._catalogue.performance.record_failure(model, error.code, now)
        if error.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE:
            state.compatible = tuple(other for other in state.compatible if other is not model)
        elif error.code not in SHARED_FAILURES:
            state.excluded_until_s[model] = now + EXCLUSION_S

    def note_success(
        self,
        session: Session,
        turn: Turn,
        model: LipSyncModel,
        failures: Mapping[LipSyncModel, LipSyncErrorCode],
    ) -> Switch | None:
        """Record that the model generated a batch; a `Switch` where it replaces another one."""
        state, before = session.models, session.models.current
        was_preferred = before is not None and state.current_preference is before
        state.current, state.current_preference = model, state.preference
        if before is None or before is model:
            return None
        turn.generation.switches += 1
        state.since_s = asyncio.get_running_loop().time()
        context = SwitchContext(
            failures,
            self._catalogue.performance.opened_by(before),
            state.awaited_since_s.pop(model, None) is not None,
            was_preferred,
            state.preference,
            state.reasons,
        )
        switch = Switch(before, model, switch_reason(before, model, context))
        self._metrics.fallbacks_total.labels(before.value, model.value, switch.reason).inc()
        logger.info(
            "session %s: %s -> %s (%s)", session.id, before.value, model.value, switch.reason
        )
        return switch

    async def refusal(self, session: Session) -> LipSyncError | None:
        """Error for a preference that the operator refuses; None where it is served."""
        preference = session.models.preference
        if preference is None or not (reason := self._catalogue.why_refused(preference)):
            return None
        alternative = (await self.select_model(session))[0]
        licences = self._catalogue.spec(preference).licences
        return refused_preference(preference, reason, licences, alternative)

    async def unserved_preference(self, session: Session, first: LipSyncModel) -> Switch | None:
        """Notification that `first` replaces the preferred model, once for each preference; None
        for a preference that is served or refused.
        """
        state = session.models
        preference = state.preference
        if preference is None or state.reported_preference is preference:
            return None
        state.reported_preference = preference
        if preference is first or self._catalogue.why_refused(preference):
            return None
        return Switch(preference, first, await self._why_unserved(session, preference))

    async def _why_unserved(self, session: Session, model: LipSyncModel) -> str:
        if model not in session.models.compatible:
            return LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE.value
        if model in session.models.slow.models:
            return Reason.TOO_SLOW.value
        opened_by = self._catalogue.performance.opened_by(model)
        if opened_by is not None:
            return opened_by.value
        return FACE_NOT_PREPARED if await self._catalogue.available(model) else NOT_READY

    async def _is_usable(self, session: Session, model: LipSyncModel, now: float) -> bool:
        is_excluded = session.models.excluded_until_s.get(model, 0.0) > now
        return not is_excluded and await self._catalogue.available(model)

    def _prepared(self, session: Session, order: Sequence[LipSyncModel]) -> list[LipSyncModel]:
        """Models of `order` whose face is prepared; starts to prepare it for those that rank above
        the first of them.
        """
        face, found = session.face.current, list[LipSyncModel]()
        if face is None:
            return list(order)
        for model in order:
            adapter = self._adapters[model]
            if self._preparations.is_ready(face, adapter, session.face.size):
                found.append(model)
            elif found:
                session.models.awaited_since_s.pop(model, None)
            elif self._wants_face(session, model):
                self._preparations.start(face, adapter, session.face.size)
        return found

    def _wants_face(self, session: Session, model: LipSyncModel) -> bool:
        now = asyncio.get_running_loop().time()
        since_s = session.models.awaited_since_s.setdefault(model, now)
        is_first_choice = model in (session.models.preference, self._config.default_model)
        return is_first_choice or now - since_s >= SPARE_FACE_S
