"""Reason of a model switch within a session, as the client and the metrics get it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.types import LipSyncModel
from orchestrator.pipeline.selection_policy import Reason

OBJECTIONS: Final = (Reason.POOR_QUALITY, Reason.TOO_SLOW, Reason.NO_GPU, Reason.LOW_BANDWIDTH)
"""Reasons that rank a model behind the others."""

FACE_PREPARED: Final = "FACE_PREPARED"
"""The face is now prepared for a better model."""

RECOVERED: Final = "RECOVERED"
"""A network model replaces the last resort."""

NOT_READY: Final = "NOT_READY"
"""Triton does not have the model before ready."""

FACE_NOT_PREPARED: Final = "FACE_NOT_PREPARED"
"""The model is ready, but the face is not prepared for it."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Change of the model between two frames of a session."""

    before: LipSyncModel
    after: LipSyncModel
    reason: str


@dataclass(frozen=True, slots=True)
class SwitchContext:
    """Facts that decide the reason of a switch."""

    failures: Mapping[LipSyncModel, LipSyncErrorCode]
    """Errors of the models tried before in this batch."""
    opened_by: LipSyncErrorCode | None
    """Error that opened the circuit of the model before."""
    was_awaited: bool
    """True where the face was being prepared for the new model."""
    was_preferred: bool
    """True where the model before was the client's preference."""
    preference: LipSyncModel | None
    reasons: Mapping[LipSyncModel, Reason]
    """Ranks at the last selection."""


def switch_reason(before: LipSyncModel, after: LipSyncModel, context: SwitchContext) -> str:
    """First of the reasons that applies, the most specific first."""
    if before in context.failures:
        return context.failures[before].value
    if context.opened_by is not None:
        return context.opened_by.value
    if context.was_awaited:
        return FACE_PREPARED
    if after is context.preference:
        return Reason.REQUESTED.value
    return _rank_reason(before, after, context)


def _rank_reason(before: LipSyncModel, after: LipSyncModel, context: SwitchContext) -> str:
    reasons = context.reasons
    if before in reasons and reasons[before] in OBJECTIONS:
        return reasons[before].value
    if before is LipSyncModel.STATIC:
        return reasons[after].value if context.was_preferred else RECOVERED
    return reasons[after].value if before in reasons and after in reasons else NOT_READY
