"""Bench a model that is too slow for a session before its audio inbox overflows. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.core.types import LipSyncModel

BACKLOG_THRESHOLD: Final = 0.5
"""Inbox fill, and lateness relative to the inbox length, above which audio may be dropped."""

OVERFLOW_THRESHOLD: Final = 0.9
"""Inbox fill above which audio may be dropped even if the frames are less late: the client may send
ahead of real time.
"""

TOLERATED_LATENESS_S: Final = 2.0
"""Frames up to this late count as on time."""

CAUGHT_UP_SHARE: Final = BACKLOG_THRESHOLD / 4
"""Lateness relative to the inbox length below which the session has caught up. It replaces
`TOLERATED_LATENESS_S` for an inbox too small to hold that much.
"""

BENCH_S: Final = 10.0
"""Least time for which a model stays benched, so that the face does not change its look often."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Position of a session before its next batch."""

    late_s: float
    """Time since the next frame could have been generated."""
    fill: float
    """Fill of the inbox, 0..1."""
    inbox_s: float
    """Capacity of the inbox in seconds of audio."""
    more_comes: bool
    """True while audio arrives. Audio that was sent at once is not lost by slow generation."""
    load: float
    """Generation time of the last batch over its duration."""


@dataclass(frozen=True, slots=True)
class SlowModels:
    """Benched models of one session."""

    models: frozenset[LipSyncModel] = frozenset()
    """Models that generate no frames, preferred or not."""
    since_s: float = 0.0


def update(
    state: SlowModels, backlog: Backlog, model: LipSyncModel | None, now: float
) -> SlowModels:
    """State after the last batch, which `model` generated; `now` is monotonic seconds."""
    is_new = model is not None and model not in state.models
    if model is not None and is_new and backlog.load > 1.0 and _may_drop_audio(backlog):
        return SlowModels(state.models | {model}, now)
    caught_up_s = min(TOLERATED_LATENESS_S, CAUGHT_UP_SHARE * backlog.inbox_s)
    if state.models and backlog.late_s <= caught_up_s and now - state.since_s >= BENCH_S:
        return SlowModels()
    return state


def _may_drop_audio(backlog: Backlog) -> bool:
    is_late = (
        backlog.late_s >= BACKLOG_THRESHOLD * backlog.inbox_s and backlog.fill >= BACKLOG_THRESHOLD
    )
    is_full = backlog.late_s > TOLERATED_LATENESS_S and backlog.fill >= OVERFLOW_THRESHOLD
    return backlog.more_comes and (is_late or is_full)
