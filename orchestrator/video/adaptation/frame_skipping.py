"""Which frames a client with a full queue is spared: decided before they are coded, so that what is coded always decodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from orchestrator.video.encoder import KEYFRAME_INTERVAL

T = TypeVar("T")

LIGHT: Final = 0.5
HEAVY: Final = 0.75
"""Congestion from which every second frame is skipped, and from which two of three are."""


QUEUE_SPARED: Final = 0.5
"""Up to this fill a queue is left to a lower bitrate (`bitrate.FILLING_QUEUE`) and a lower frame rate (`video.frame_rate.FULL_QUEUE`)."""


def congestion_of(queue_fill: float) -> float:
    """Congestion 0..1 of a client whose outbox is so full: frames are skipped as the last resort, from three quarters on."""
    return max(0.0, queue_fill - QUEUE_SPARED) / (1.0 - QUEUE_SPARED)


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
