"""Audio-video synchronisation at the viewer: measure the offset and correct it.

A positive offset means that the picture is ahead.
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
"""Offset that counts as in sync; the specification's number."""

MEDIAN_REPORTS: Final = 9
"""Reports in the median; a single one carries the network's jitter."""

DEAD_BAND_MS: Final = 5.0
"""Median up to which nothing is corrected: the noise of the reports."""

GAIN: Final = 0.5
"""Share of a median that is corrected at once.

The rest shows in the next reports, so that an outlier cannot swing the picture.
"""

MIN_JUDGED_STEP_MS: Final = 5.0
JUDGING_REPORTS: Final = 4
"""Reports by which a step of at least `MIN_JUDGED_STEP_MS` towards earlier is judged.

A picture that arrives late does not come sooner for being due sooner. Such steps would only add up.
"""

PAUSED_REPORTS: Final = 30
"""Reports without steps towards earlier after a step without effect."""

MAX_CORRECTION_MS: Final = 500.0
"""Largest correction: a client that reports more does not play what it is sent."""


@dataclass(frozen=True, slots=True)
class SyncState:
    """Positions of sound and picture."""

    audio_timestamp_ms: float
    """Timestamp of the sound being played."""
    video_timestamp_ms: float
    """Timestamp of the picture shown at the same moment."""
    offset_ms: float
    is_in_sync: bool
    correction_applied_ms: float = 0.0
    """Correction of presentation times so far."""


def sync_state(
    audio_timestamp_ms: float, video_timestamp_ms: float, correction_ms: float = 0.0
) -> SyncState:
    """State from the two timestamps that meet at the viewer."""
    offset_ms = video_timestamp_ms - audio_timestamp_ms
    return SyncState(
        audio_timestamp_ms,
        video_timestamp_ms,
        offset_ms,
        abs(offset_ms) < TOLERANCE_MS,
        correction_ms,
    )


class SyncTracker:
    """Correction of presentation times from a client's reports; follows clock drift."""

    def __init__(self) -> None:
        self.correction_ms = 0.0
        """Correction to add to every presentation timestamp."""
        self.corrections = 0
        """Number of changes of the correction."""
        self.offset_ms = 0.0
        """Median of the last reports."""
        self.reports = 0
        """Number of reports."""
        self._reports: deque[float] = deque(maxlen=MEDIAN_REPORTS)
        self._judged: tuple[float, float] | None = None
        """Offset before the step being judged, and the step."""
        self._since: list[float] = []
        self._paused_until = 0

    def report(self, offset_ms: float) -> bool:
        """Record an offset measured by the client since the last report.

        Returns False when the offset is too large to be corrected.
        """
        self.reports += 1
        self._reports.append(offset_ms)
        self.offset_ms = median(self._reports)
        is_judging = self._judge(offset_ms)
        is_paused = self.offset_ms < 0.0 and self.reports < self._paused_until
        if (
            is_judging
            or is_paused
            or len(self._reports) < MEDIAN_REPORTS // 2
            or abs(self.offset_ms) <= DEAD_BAND_MS
        ):
            return abs(self.correction_ms) < MAX_CORRECTION_MS
        step = GAIN * self.offset_ms
        if step <= -MIN_JUDGED_STEP_MS:
            self._judged, self._since = (self.offset_ms, step), []
        self._move(step)
        return abs(self.correction_ms) < MAX_CORRECTION_MS

    def _judge(self, offset_ms: float) -> bool:
        """True while a step is being judged; a step without effect is reverted."""
        if self._judged is None:
            return False
        self._since.append(offset_ms)
        if len(self._since) < JUDGING_REPORTS:
            return True
        (before_ms, step), self._judged = self._judged, None
        if median(self._since) - before_ms < -step / 4.0:
            self._move(-step)
            self._paused_until = self.reports + PAUSED_REPORTS
        return False

    def _move(self, step: float) -> None:
        moved = min(MAX_CORRECTION_MS, max(-MAX_CORRECTION_MS, self.correction_ms + step))
        self._reports = deque(
            (old - (moved - self.correction_ms) for old in self._reports), maxlen=MEDIAN_REPORTS
        )
        self.corrections += moved != self.correction_ms
        self.correction_ms = moved
        self.offset_ms = median(self._reports)


def corrected(frames: Sequence[StreamingFrame], state: SyncState) -> list[StreamingFrame]:
    """Shift frames by the offset: later when the picture is ahead, earlier when it is behind.

    Shifted frames may precede the moment the viewer already sees. JPEG frames are then dropped;
    H.264 frames stay, since later ones depend on them, and are shown at once.
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
