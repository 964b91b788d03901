"""Which frames a client with a full queue is spared: decided before they are coded, so that what is coded always decodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from orchestrator.streaming.encoder import KEYFRAME_INTERVAL

T = TypeVar("T")

LIGHT: Final = 0.5
HEAVY: Final = 0.75
"""Outbox fill from which every second frame is skipped, and from which two of three are."""


def frames_between(level: float) -> int:
    """Frames skipped after each one that is kept, by congestion 0..1."""
    return 0 if level < LIGHT else 1 if level < HEAVY else 2


def kept_frames(frames: Sequence[T], level: float, since_keyframe: int) -> list[T]:
    """The frames to be coded; `since_keyframe` counts those coded after the last keyframe.

    The frame that is due as a keyframe is never skipped: without it a viewer who lost data would stay lost.
    """
    skipped, gap = frames_between(level), 0
    kept: list[T] = []
    for frame in frames:
        due = (since_keyframe + len(kept)) % KEYFRAME_INTERVAL == 0
        if gap and not due:
            gap -= 1
            continue
        kept.append(frame)
        gap = skipped
    return kept
