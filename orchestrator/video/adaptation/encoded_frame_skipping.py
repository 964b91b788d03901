"""Which coded frames a congested client is spared: those on which nothing builds that it is still sent."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.core.types import StreamingFrame, VideoFormat
from orchestrator.video.adaptation.frame_skipping import frames_between


def spared(frames: Sequence[StreamingFrame], level: float) -> list[StreamingFrame]:
    """The frames to be sent at a congestion of 0..1; what is sent decodes, together with whatever follows the last of them.

    JPEG frames stand alone: every second goes, or two of three. H.264 frames build on the one before them, so only the ends of
    groups may go, and the last group stays whole because frames that are not here yet build on it. A keyframe of H.264 always stays.
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
