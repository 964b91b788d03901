"""Generation metrics over all sessions, as in the specification."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

MAX_BATCHES: Final = 512
"""Batches in the means."""


@dataclass(frozen=True, slots=True)
class GenerationMetrics:
    """A snapshot."""

    frames_generated: int
    frames_dropped: int
    """Dropped for slow clients, or with an interrupted turn."""
    average_generation_time_ms: float
    """Per frame, over the last batches."""
    average_fps: float
    """Frames a second over the last batches, all sessions together."""
    buffer_underruns: int
    """Frames delayed by more than one frame interval, which drained the viewer's buffer."""
    model_switches: int


@dataclass(slots=True)
class GenerationCounter:
    """Counters. Reads no clock: `now` is monotonic seconds."""

    frames_generated: int = 0
    frames_dropped: int = 0
    buffer_underruns: int = 0
    model_switches: int = 0
    _batches: deque[tuple[float, int, float]] = field(
        default_factory=lambda: deque(maxlen=MAX_BATCHES)
    )

    def drawn(self, frames: int, elapsed_ms: float, now: float) -> None:
        """Count a generated batch."""
        self.frames_generated += frames
        self._batches.append((now, frames, elapsed_ms))

    def metrics(self) -> GenerationMetrics:
        """Snapshot of the metrics."""
        frames = sum(count for _, count, _ in self._batches)
        elapsed_ms = sum(each for _, _, each in self._batches)
        span_s = self._batches[-1][0] - self._batches[0][0] if len(self._batches) > 1 else 0.0
        later = frames - self._batches[0][1] if self._batches else 0
        return GenerationMetrics(
            frames_generated=self.frames_generated,
            frames_dropped=self.frames_dropped,
            average_generation_time_ms=elapsed_ms / frames if frames else 0.0,
            average_fps=later / span_s if span_s > 0.0 else 0.0,
            buffer_underruns=self.buffer_underruns,
            model_switches=self.model_switches,
        )
