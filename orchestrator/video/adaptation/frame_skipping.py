"""Frame skipping under congestion, before frames are encoded and after, so that what is sent always
decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from orchestrator.core.types import StreamingFrame, VideoFormat
from orchestrator.video.adaptation.thresholds import HEAVY, LIGHT, QUEUE_SPARED
from orchestrator.video.encoder import KEYFRAME_INTERVAL

T = TypeVar("T")


def congestion_of(queue_fill: float) -> float:
    """Congestion 0..1 of a client whose outbox is so full: frames are skipped as the last resort,
    from three quarters on.
    """
    return max(0.0, queue_fill - QUEUE_SPARED) / (1.0 - QUEUE_SPARED)


def frames_between(level: float) -> int:
    """Frames skipped after each one that is kept, by congestion 0..1."""
    return 0 if level < LIGHT else 1 if level < HEAVY else 2


def kept_frames(frames: Sequence[T], level: float, since_keyframe: int) -> list[T]:
    """The frames to be coded; `since_keyframe` counts those coded after the last keyframe.

    The frame that is due as a keyframe is never skipped: without it a viewer who lost data would
    stay lost.
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


def spared(frames: Sequence[StreamingFrame], level: float) -> list[StreamingFrame]:
    """The frames to be sent at a congestion of 0..1; what is sent decodes, together with whatever
    follows the last of them.

    JPEG frames stand alone: every second goes, or two of three. H.264 frames build on the one
    before them, so only the ends of groups may go, and the last group stays whole because frames
    that are not here yet build on it. A keyframe of H.264 always stays.
    """
    every = 1 + frames_between(level)
    if not frames or frames[0].format is VideoFormat.JPEG:
        return list(frames[::every])
    *complete, last = _groups(frames)
    return [frame for group in complete for frame in group[: -(-len(group) // every)]] + last


def _groups(frames: Sequence[StreamingFrame]) -> list[list[StreamingFrame]]:
    """Each keyframe with what builds on it."""
    groups: list[list[StreamingFrame]] = []
    for frame in frames:
        if frame.is_keyframe or not groups:
            groups.append([])
        groups[-1].append(frame)
    return groups
