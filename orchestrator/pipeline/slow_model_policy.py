"""Which models have to give way in a session: so slow that sound would be lost if they went on
drawing it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.core.types import LipSyncModel

HALF: Final = 0.5
"""Fill of the inbox, and lateness as a share of what it holds, from which on sound is in danger."""

FULL: Final = 0.9
"""Fill from which it is in danger however late the frames are: a client may be ahead of real time. 
"""

LATE_S: Final = 2.0
"""Frames that are no later than this are not late."""

CAUGHT_UP: Final = HALF / 4
"""Lateness, as a share of what the inbox holds, that counts in place of `LATE_S` where it is less:
a small inbox never holds so much.
"""

DWELL_S: Final = 10.0
"""How long a model that gave way is not asked at least, so that a face does not change its look all
the time.
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a session stands before its next batch."""

    late_s: float
    """How long ago the next frame could have been drawn."""
    fill: float
    """Of the inbox, 0..1."""
    inbox_s: float
    """How much sound the inbox holds."""
    more_comes: bool
    """Sound still arrives; what came at once, and is drawn slowly, loses nothing by that."""
    load: float
    """Time that the last batch took over the time that it lasts."""


@dataclass(frozen=True, slots=True)
class GivingWay:
    """The state of one session."""

    models: frozenset[LipSyncModel] = frozenset()
    """These do not draw, asked for or not."""
    since_s: float = 0.0


def after_look(
    state: GivingWay, waiting: Waiting, model: LipSyncModel | None, now: float
) -> GivingWay:
    """The state after a look at a session whose last batch `model` drew."""
    if (
        model is not None
        and model not in state.models
        and waiting.load > 1.0
        and _in_danger(waiting)
    ):
        return GivingWay(state.models | {model}, now)
    caught_up_s = min(LATE_S, CAUGHT_UP * waiting.inbox_s)
    if state.models and waiting.late_s <= caught_up_s and now - state.since_s >= DWELL_S:
        return GivingWay()
    return state


def _in_danger(waiting: Waiting) -> bool:
    is_late = waiting.late_s >= HALF * waiting.inbox_s and waiting.fill >= HALF
    is_full = waiting.late_s > LATE_S and waiting.fill >= FULL
    return waiting.more_comes and (is_late or is_full)
