"""Frame skipping under congestion, before and after encoding; the frames that are sent decode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from orchestrator.core.types import StreamingFrame, VideoFormat
from orchestrator.video.adaptation.thresholds import HEAVY, LIGHT, QUEUE_SPARED
from orchestrator.video.encoder import KEYFRAME_INTERVAL

T = TypeVar("T")


def congestion_of(queue_fill: float) -> float:
    """Congestion 0..1 by the outbox's fill 0..1. Skipping is the last measure: it begins at a fill
    of three quarters.
    """
    return max(0.0, queue_fill - QUEUE_SPARED) / (1.0 - QUEUE_SPARED)


def frames_between(level: float) -> int:
    """Frames skipped after each one that is kept, by congestion 0..1."""
    return 0 if level < LIGHT else 1 if level < HEAVY else 2


def kept_frames(frames: Sequence[T], level: float, since_keyframe: int) -> list[T]:
    """Frames to encode; `since_keyframe` counts those encoded since the last keyframe.

    The frame that is due as a keyframe is never skipped: a client that lost data needs it to
    recover.
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
    """Encoded frames to send at a congestion `level` of 0..1, without breaking the decoding of the
    frames still sent or to come.

    JPEG frames are independent: every second is skipped, or two of three. H.264 frames depend on
    the one before, so only the ends of groups are skipped. The last group stays whole, since frames
    to come depend on it. A keyframe of H.264 always stays.
    """
    every = 1 + frames_between(level)
    if not frames or frames[0].format is VideoFormat.JPEG:
        return list(frames[::every])
    *complete, last = _groups(frames)
    return [frame for group in complete for frame in group[: -(-len(group) // every)]] + last


def _groups(frames: Sequence[StreamingFrame]) -> list[list[StreamingFrame]]:
    """Groups of a keyframe with the frames that depend on it."""
    groups: list[list[StreamingFrame]] = []
    for frame in frames:
        if frame.is_keyframe or not groups:
            groups.append([])
        groups[-1].append(frame)
    return groups
