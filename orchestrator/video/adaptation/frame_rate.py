"""Reduced frame rate: 20 frames/s fall to 15 while client or model cannot keep up, and come back.

Pure functions; time is an argument, in monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from orchestrator.video.adaptation.thresholds import (
    FALL_AFTER_S,
    MAX_RELIEVED_LOAD,
    MIN_REDUCED_FPS,
    OVERLOADED,
    QUEUE_OVERLOADED,
    REDUCED_SHARE,
    RELAXED,
    RISE_AFTER_S,
    TOLERATED_LATENESS_S,
)

T = TypeVar("T")

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
            max(min(asked_fps, MIN_REDUCED_FPS), REDUCED_SHARE * asked_fps)
            if self.reduced
            else asked_fps
        )


def load_of(rate: FrameRate, queue_fill: float, batch_load: float, late_s: float) -> float:
    """Load of the session: the greater of its queue's fill, scaled to `OVERLOADED`, and the model's
    load.

    `batch_load` is generation time over duration. It counts only where frames are late by it and a
    reduced rate helps.
    """
    counts = rate.reduced or (late_s > TOLERATED_LATENESS_S and batch_load < MAX_RELIEVED_LOAD)
    return max(batch_load if counts else 0.0, OVERLOADED / QUEUE_OVERLOADED * queue_fill)


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
