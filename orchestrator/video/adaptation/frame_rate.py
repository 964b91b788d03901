"""How many frames a second are drawn: 20 falls to 15 while client or model cannot keep up, and
comes back. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

T = TypeVar("T")

REDUCED_SHARE: Final = 0.75
"""Of the frame rate that was asked for: 15 of 20."""

LOWEST_FPS: Final = 15.0

OVERLOADED: Final = 0.9
RELAXED: Final = 0.6
"""Load from which the rate falls, and below which it may rise: far enough apart that the lower
rate's relief is not taken for ease.
"""

FULL_QUEUE: Final = 0.5
"""Fill of the outbox that counts as overload; a third of it filled, by the same measure, as ease. 
"""

LATE_S: Final = 2.0
"""A model that needs more time than there is may be as late as this before pictures are left out:
short turns keep all of theirs.
"""

HELPED: Final = 1.5
"""Load up to which three quarters of the pictures are a relief. A model that is slower, as those
for a GPU are on a CPU, is late with fewer as well: whoever asked for it gets them all.
"""

FALL_AFTER_S: Final = 1.0
RISE_AFTER_S: Final = 3.0
"""How long the load has to last."""

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class FrameRate:
    """The state of one session's rate."""

    reduced: bool = False
    since_s: float | None = None
    """Since when the load speaks for a change."""

    def fps(self, asked_fps: float) -> float:
        """Frames a second to be drawn where `asked_fps` were asked for."""
        return (
            max(min(asked_fps, LOWEST_FPS), REDUCED_SHARE * asked_fps)
            if self.reduced
            else asked_fps
        )


def load_of(rate: FrameRate, queue_fill: float, drawing: float, late_s: float) -> float:
    """The worse of the two: how full the client's queue is, and drawing time over the time there is
    for it.

    Drawing lowers the rate only where frames are late by it and a lower rate helps.
    """
    counts = rate.reduced or (late_s > LATE_S and drawing < HELPED)
    return max(drawing if counts else 0.0, OVERLOADED / FULL_QUEUE * queue_fill)


def after_load(rate: FrameRate, load: float, now: float) -> FrameRate:
    """The state after a look at the load (`load_of`)."""
    speaks_for_change = load < RELAXED if rate.reduced else load > OVERLOADED
    if not speaks_for_change:
        return rate if rate.since_s is None else replace(rate, since_s=None)
    if rate.since_s is None:
        return replace(rate, since_s=now)
    lasting_s = RISE_AFTER_S if rate.reduced else FALL_AFTER_S
    return FrameRate(reduced=not rate.reduced) if now - rate.since_s >= lasting_s else rate


def is_kept(frame: int, asked_fps: float, drawn_fps: float) -> bool:
    """Whether frame number `frame` of the asked rate is drawn at the lower one: evenly spread, the
    first always.
    """
    share = min(1.0, drawn_fps / asked_fps)
    return frame == 0 or math.floor(frame * share + _ROUNDING) > math.floor(
        (frame - 1) * share + _ROUNDING
    )


def thinned(frames: Sequence[T], fps: float, target_fps: float) -> list[T]:
    """Frames of `fps` with as many left out, evenly, as `target_fps` asks."""
    return [frame for number, frame in enumerate(frames) if is_kept(number, fps, target_fps)]
