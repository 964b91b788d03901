"""Ranking of the models for a session's next frames, with a reason for each. Pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.core.types import LipSyncModel

MIN_QUALITY_GAIN: Final = 0.05
"""Gain in quality from which a better model replaces the current one: a switch changes the look."""

DWELL_S: Final = 5.0
"""Least time for which a model stays before a better one replaces it. A worse one replaces it at
once if necessary.
"""

BUDGET_SHARE: Final = 0.8
"""Share of a chunk's duration that a model may need for its frames; the rest is reserve."""


class Reason(StrEnum):
    """Reason for a model's rank."""

    REQUESTED = "REQUESTED"
    """The client prefers it."""
    BEST_QUALITY = "BEST_QUALITY"
    """It has the best quality of those that are fast enough."""
    KEPT = "KEPT"
    """It is the current model, and no other is sufficiently better."""
    DEFAULT = "DEFAULT"
    """It is the default model of the configuration."""
    FALLBACK = "FALLBACK"
    """It is next in the fallback chain."""
    POOR_QUALITY = "POOR_QUALITY"
    """Its quality is below the required minimum."""
    TOO_SLOW = "TOO_SLOW"
    """Its chunks take longer than they last. It ranks just before the last resort, and behind it
    while benched.
    """
    NO_GPU = "NO_GPU"
    """It needs a GPU, there is none, and no measurement shows that it works without."""
    LOW_BANDWIDTH = "LOW_BANDWIDTH"
    """Its pictures need more bandwidth than the client reported."""
    LAST_RESORT = "LAST_RESORT"
    """It always succeeds: `static`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Model that the face supports, whose Triton models are ready and whose circuit is closed."""

    quality: float
    """Declared quality times the share of successful chunks, 0..1."""
    p95_ms: float | None = None
    """95th percentile of the latency of a chunk, its wait in Triton's queue included; None without
    measurements.
    """
    needs_gpu: bool = False
    min_bandwidth_kbps: float = 0.0
    """Bandwidth below which its pictures are blurred."""


@dataclass(frozen=True, slots=True)
class SelectionContext:
    """Conditions of the ranking besides the models."""

    default: LipSyncModel
    chain: Sequence[LipSyncModel]
    preference: LipSyncModel | None = None
    adaptive: bool = True
    chunk_ms: float = 100.0
    """Duration of a chunk."""
    max_latency_ms: float | None = None
    """Longest latency of a chunk; None: `BUDGET_SHARE` of its duration."""
    min_quality: float = 0.0
    """Models below it rank just before the last resort."""
    bandwidth_kbps: float | None = None
    """Last bandwidth that the client reported."""
    gpu_available: bool = False
    current: LipSyncModel | None = None
    """Model of the last frame."""
    drawn_s: float = 0.0
    """Time for which the current model has generated."""
    benched: frozenset[LipSyncModel] = frozenset()
    """Models benched for the session (`slow_model_policy`): they generate nothing, preferred or
    not.
    """


@dataclass(frozen=True, slots=True)
class RankedModel:
    """One rank."""

    model: LipSyncModel
    reason: Reason


def ranked(
    candidates: Mapping[LipSyncModel, Candidate], context: SelectionContext
) -> list[RankedModel]:
    """Candidates, best first; `static` is the last resort, unless it is preferred or the default.

    A preference ranks first. With adaptive selection the best quality of the measured models
    without an objection follows, otherwise the default. Then comes the fallback chain, then the
    models with an objection, then the last resort. While a model is benched, the session catches up
    with models known to keep up; all others rank behind the last resort.
    """
    static = LipSyncModel.STATIC
    if (context.preference or context.default) is static:
        is_default = context.preference is None
        return [RankedModel(static, Reason.DEFAULT if is_default else Reason.REQUESTED)]
    order = _with_preference(_by_configuration(candidates, context), candidates, context)
    keeping_up = [each for each in order if _may_catch_up(each, candidates[each.model], context)]
    behind = [_benched(each, context) for each in order if each not in keeping_up]
    return [*keeping_up, RankedModel(static, Reason.LAST_RESORT), *behind]


def _by_configuration(
    candidates: Mapping[LipSyncModel, Candidate], context: SelectionContext
) -> list[RankedModel]:
    """Default and fallback chain: the first choice, the others, then those with an objection."""
    listed = [
        model
        for model in dict.fromkeys((context.default, *context.chain))
        if model in candidates and model is not LipSyncModel.STATIC
    ]
    against = {model: _objection(candidates[model], context) for model in listed}
    fitting = [model for model in listed if against[model] is None]
    first = _first(fitting, candidates, context)
    others = [model for model in fitting if first is None or model is not first.model]
    return [
        *([] if first is None else [first]),
        *(RankedModel(model, _place(model, context)) for model in others),
        *(RankedModel(model, reason) for model, reason in against.items() if reason is not None),
    ]


def _with_preference(
    order: list[RankedModel],
    candidates: Mapping[LipSyncModel, Candidate],
    context: SelectionContext,
) -> list[RankedModel]:
    preferred = context.preference
    if preferred is None or preferred not in candidates:
        return order
    others = [each for each in order if each.model is not preferred]
    return [RankedModel(preferred, Reason.REQUESTED), *others]


def _benched(ranked_model: RankedModel, context: SelectionContext) -> RankedModel:
    """The rank with its reason behind the last resort."""
    is_slow = ranked_model.model in context.benched
    return RankedModel(ranked_model.model, Reason.TOO_SLOW) if is_slow else ranked_model


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
    """True for a rank before the last resort: always, unless the session has a backlog."""
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
    """First rank of adaptive selection. The default may lead without measurements; any other model
    must have kept up.
    """
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
        is_better = candidates[best].quality >= candidates[current].quality + MIN_QUALITY_GAIN
        if not is_better or context.drawn_s < DWELL_S:
            return RankedModel(current, Reason.KEPT)
    return RankedModel(best, Reason.BEST_QUALITY)


def _place(model: LipSyncModel, context: SelectionContext) -> Reason:
    return Reason.DEFAULT if model is context.default else Reason.FALLBACK
