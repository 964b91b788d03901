"""Sound and picture at the viewer: how far they are apart, and what is done about it. Positive: the
picture is ahead.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from orchestrator.core.types import StreamingFrame, VideoFormat

TOLERANCE_MS: Final = 50.0
"""In sync within this, the specification's number."""

REPORTS: Final = 9
"""Reports whose median is believed: a single one carries the network's jitter."""

DEAD_BAND_MS: Final = 5.0
"""Smaller medians are left alone: they are the noise of the reports."""

GAIN: Final = 0.5
"""Share of a median that is corrected at once; the rest shows in the next reports, so that an
outlier cannot swing the picture.
"""

HURRY_MS: Final = 5.0
JUDGED_BY: Final = 4
"""A step of at least the first that shows the picture earlier is judged by so many reports: a
picture that is late because it arrives late does not come sooner for being due sooner, and such
steps would only add up.
"""

DEAF: Final = 30
"""Reports for which nothing is hurried after a step without effect."""

MAX_CORRECTION_MS: Final = 500.0
"""A client that reports more than this plays something else than what it is sent."""


@dataclass(frozen=True, slots=True)
class SyncState:
    """Where sound and picture stand."""

    audio_timestamp_ms: float
    """Of the sound that is heard."""
    video_timestamp_ms: float
    """Of the picture that is seen at the same moment."""
    offset_ms: float
    is_in_sync: bool
    correction_applied_ms: float = 0.0
    """Added to presentation times by now."""


def sync_state(
    audio_timestamp_ms: float, video_timestamp_ms: float, correction_ms: float = 0.0
) -> SyncState:
    """The state from the two times that meet at the viewer."""
    offset_ms = video_timestamp_ms - audio_timestamp_ms
    return SyncState(
        audio_timestamp_ms,
        video_timestamp_ms,
        offset_ms,
        abs(offset_ms) < TOLERANCE_MS,
        correction_ms,
    )


class SyncTracker:
    """Turns a client's reports into a correction of presentation times; clocks that drift apart are
    followed.
    """

    def __init__(self) -> None:
        self.correction_ms = 0.0
        """To be added to every presentation time."""
        self.corrections = 0
        """How often it changed."""
        self.offset_ms = 0.0
        """Median of the last reports."""
        self.reports = 0
        """How many came."""
        self._reports: deque[float] = deque(maxlen=REPORTS)
        self._hurried: tuple[float, float] | None = None
        """Offset before the step that is being judged, and the step."""
        self._since: list[float] = []
        self._deaf_until = 0

    def report(self, offset_ms: float) -> bool:
        """What the client measured since the last report; False when it is too far off to be
        corrected.
        """
        self.reports += 1
        self._reports.append(offset_ms)
        self.offset_ms = median(self._reports)
        is_judging = self._judge(offset_ms)
        is_deaf = self.offset_ms < 0.0 and self.reports < self._deaf_until
        if (
            is_judging
            or is_deaf
            or len(self._reports) < REPORTS // 2
            or abs(self.offset_ms) <= DEAD_BAND_MS
        ):
            return abs(self.correction_ms) < MAX_CORRECTION_MS
        step = GAIN * self.offset_ms
        if step <= -HURRY_MS:
            self._hurried, self._since = (self.offset_ms, step), []
        self._move(step)
        return abs(self.correction_ms) < MAX_CORRECTION_MS

    def _judge(self, offset_ms: float) -> bool:
        """Whether a step is still being judged; one that moved nothing is taken back."""
        if self._hurried is None:
            return False
        self._since.append(offset_ms)
        if len(self._since) < JUDGED_BY:
            return True
        (before_ms, step), self._hurried = self._hurried, None
        if median(self._since) - before_ms < -step / 4.0:
            self._move(-step)
            self._deaf_until = self.reports + DEAF
        return False

    def _move(self, step: float) -> None:
        moved = min(MAX_CORRECTION_MS, max(-MAX_CORRECTION_MS, self.correction_ms + step))
        self._reports = deque(
            (old - (moved - self.correction_ms) for old in self._reports), maxlen=REPORTS
        )
        self.corrections += moved != self.correction_ms
        self.correction_ms = moved
        self.offset_ms = median(self._reports)


def corrected(frames: Sequence[StreamingFrame], state: SyncState) -> list[StreamingFrame]:
    """Frames shown later by the offset when the picture is ahead, earlier when it is behind.

    Shown earlier, frames may fall before the moment that the viewer sees already: JPEG ones are
    dropped, of H.264 all stay, since later ones build on them, and are shown at once.
    """
    shifted = [
        dataclasses.replace(frame, timestamp_ms=frame.timestamp_ms + state.offset_ms)
        for frame in frames
    ]
    passed = state.video_timestamp_ms
    kept = [
        frame
        for frame in shifted
        if frame.timestamp_ms >= passed or frame.format is not VideoFormat.JPEG
    ]
    return [
        dataclasses.replace(frame, timestamp_ms=max(frame.timestamp_ms, passed)) for frame in kept
    ]
