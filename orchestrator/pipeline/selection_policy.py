"""Which models may draw the next frames, best first, and why. Pure: everything it weighs is an
argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.core.types import LipSyncModel

MARGIN: Final = 0.05
"""By how much another model's quality must be better before a face changes its look for it."""

DWELL_S: Final = 5.0
"""How long a model draws at least before a better one may take over; a worse one takes over at once
where it must.
"""

BUDGET_SHARE: Final = 0.8
"""Of the time that a chunk's frames last: what a model may need for them, so that it keeps up on a
bad day as well.
"""


class Reason(StrEnum):
    """Why a model stands where it stands among the candidates."""

    REQUESTED = "REQUESTED"
    """The client asked for it."""
    BEST_QUALITY = "BEST_QUALITY"
    """The best picture of those that are fast enough."""
    KEPT = "KEPT"
    """It draws now, and no other is better by enough or for long enough."""
    DEFAULT = "DEFAULT"
    """The configuration names it."""
    FALLBACK = "FALLBACK"
    """Next in the chain."""
    POOR_QUALITY = "POOR_QUALITY"
    """Less than the least quality that was asked for."""
    TOO_SLOW = "TOO_SLOW"
    """Its chunks take longer than they last: only before the last resort, and after it where it had
    to give way.
    """
    NO_GPU = "NO_GPU"
    """It needs a GPU, there is none, and nobody measured that it does without."""
    LOW_BANDWIDTH = "LOW_BANDWIDTH"
    """Its pictures need more bits than the client's network carries."""
    LAST_RESORT = "LAST_RESORT"
    """It cannot fail."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that the face supports, whose Triton models are ready and whose circuit is closed."""

    quality: float
    """Expected quality of the picture times the share of chunks that succeeded, 0..1."""
    p95_ms: float | None = None
    """Measured for what lasts as long as a chunk, the wait in Triton's queue included; None where
    nothing was measured yet.
    """
    needs_gpu: bool = False
    min_bandwidth_kbps: float = 0.0
    """What its pictures need to look better than a blur."""


@dataclass(frozen=True, slots=True)
class SelectionContext:
    """What the choice depends on beside the models."""

    default: LipSyncModel
    chain: Sequence[LipSyncModel]
    preference: LipSyncModel | None = None
    adaptive: bool = True
    chunk_ms: float = 100.0
    """How long the frames of one chunk last."""
    max_latency_ms: float | None = None
    """What a model may need for them; None: `BUDGET_SHARE` of their length."""
    min_quality: float = 0.0
    """Models below it stand only before the last resort."""
    bandwidth_kbps: float | None = None
    """The client's last report."""
    gpu_available: bool = False
    current: LipSyncModel | None = None
    """Drew the last frame."""
    drawn_s: float = 0.0
    """For how long it has drawn."""
    benched: frozenset[LipSyncModel] = frozenset()
    """So slow that sound of this session would be lost (`benched`): they draw none of it, asked
    for or not.
    """


@dataclass(frozen=True, slots=True)
class RankedModel:
    """One place in the order."""

    model: LipSyncModel
    reason: Reason


def ranked(
    candidates: Mapping[LipSyncModel, Candidate], context: SelectionContext
) -> list[RankedModel]:
    """Candidates best first; `static` is the last resort, unless it was asked for or is the
    default.

    A preference wins. Then comes, with adaptive selection, the best quality of those that fit and
    were measured, else the default; then the chain; what does not fit stands before the last
    resort. Where a model had to give way, the session catches up with what is known to keep up: all
    others stand after the last resort, which cannot fail.
    """
    static = LipSyncModel.STATIC
    if (context.preference or context.default) is static:
        return [
            RankedModel(static, Reason.DEFAULT if context.preference is None else Reason.REQUESTED)
        ]
    listed = [
        model
        for model in dict.fromkeys((context.default, *context.chain))
        if model in candidates and model is not static
    ]
    against = {model: _objection(candidates[model], context) for model in listed}
    fitting = [model for model in listed if against[model] is None]
    first = _first(fitting, candidates, context)
    choices = [] if first is None else [first]
    choices += [
        RankedModel(model, _place(model, context))
        for model in fitting
        if first is None or model is not first.model
    ]
    choices += [
        RankedModel(model, objection)
        for model in listed
        if (objection := against[model]) is not None
    ]
    wanted = context.preference
    if wanted is not None and wanted in candidates:
        choices = [
            RankedModel(wanted, Reason.REQUESTED),
            *(choice for choice in choices if choice.model is not wanted),
        ]
    keeping_up = [
        choice for choice in choices if _may_catch_up(choice, candidates[choice.model], context)
    ]
    others = [
        choice
        if choice.model not in context.benched
        else RankedModel(choice.model, Reason.TOO_SLOW)
        for choice in choices
    ]
    return [
        *keeping_up,
        RankedModel(static, Reason.LAST_RESORT),
        *(choice for choice in others if choice not in keeping_up),
    ]


def _objection(candidate: Candidate, context: SelectionContext) -> Reason | None:
    budget_ms = (
        BUDGET_SHARE * context.chunk_ms
        if context.max_latency_ms is None
        else context.max_latency_ms
    )
    if candidate.quality < context.min_quality:
        return Reason.POOR_QUALITY
    if candidate.p95_ms is not None and candidate.p95_ms > budget_ms:
        return Reason.TOO_SLOW
    if candidate.needs_gpu and candidate.p95_ms is None and not context.gpu_available:
        return Reason.NO_GPU
    if context.bandwidth_kbps is not None and context.bandwidth_kbps < candidate.min_bandwidth_kbps:
        return Reason.LOW_BANDWIDTH
    return None


def _may_catch_up(choice: RankedModel, candidate: Candidate, context: SelectionContext) -> bool:
    """Whether it stands before the last resort: any does, unless there is something to catch up."""
    if not context.benched or choice.model in context.benched:
        return not context.benched
    is_known = candidate.p95_ms is not None or choice.model is context.default
    return choice.reason is Reason.REQUESTED or (
        is_known and _objection(candidate, context) is None
    )


def _first(
    fitting: Sequence[LipSyncModel],
    candidates: Mapping[LipSyncModel, Candidate],
    context: SelectionContext,
) -> RankedModel | None:
    """The default may lead unmeasured, any other has to have shown that it keeps up."""
    known = [
        model
        for model in fitting
        if model is context.default or candidates[model].p95_ms is not None
    ]
    if not context.adaptive or not known:
        return None
    best = max(known, key=lambda model: candidates[model].quality)
    current = context.current
    if current in known and best is not current:
        is_better = candidates[best].quality >= candidates[current].quality + MARGIN
        if not is_better or context.drawn_s < DWELL_S:
            return RankedModel(current, Reason.KEPT)
    return RankedModel(best, Reason.BEST_QUALITY)


def _place(model: LipSyncModel, context: SelectionContext) -> Reason:
    return Reason.DEFAULT if model is context.default else Reason.FALLBACK
