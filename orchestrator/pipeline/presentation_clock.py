"""Presentation clock of one turn: when each frame may be generated, and when it may leave.

All times in seconds are monotonic. Frame k covers the slot `[k / fps, (k + 1) / fps)` of the turn's
media time. It shows the mouth at the slot's centre, `(k + 0.5) / fps` after the first sample.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.models.base import ModelSpec

ROUNDING: Final = 1e-6
"""Added to a frame's centre, in hops: a centre on a feature row must not round down to the row
before.
"""


@dataclass(slots=True)
class PresentationClock:
    """Maps frame numbers of one turn to media time, arrival time and departure time."""

    fps: float
    started_s: float
    """Arrival of the turn's first chunk."""
    first_timestamp_ms: float
    """Client's timestamp of the turn's first sample."""
    pacing_lead_s: float = math.inf
    """Time by which a frame may leave ahead of real time; infinite where frames are not paced."""
    _arrivals: deque[tuple[int, float]] = field(default_factory=deque)
    """Samples of the turn that were ready after each arrival, and its time."""

    @property
    def is_paced(self) -> bool:
        """True where frames leave in real time; false for recordings and direct calls."""
        return math.isfinite(self.pacing_lead_s)

    def note_arrival(self, samples_ready: int, now: float) -> None:
        """Record that `samples_ready` samples of the turn can be used since `now`."""
        self._arrivals.append((samples_ready, now))

    def audio_timestamp_ms(self, frame: int) -> float:
        """Client's clock at the start of a frame's slot."""
        return self.first_timestamp_ms + frame * 1000.0 / self.fps

    def centre(self, frame: int, spec: ModelSpec) -> tuple[int, float]:
        """Feature row at or before a frame's centre, and the distance past it in hops, 0..1."""
        hops = (frame + 0.5) / self.fps * SAMPLE_RATE_HZ / spec.features.hop_length + ROUNDING
        row = math.floor(hops)
        return row, hops - row

    def needed_samples(self, frame: int, spec: ModelSpec) -> int:
        """Samples of the turn up to the end of a frame's look-ahead, at 16 kHz."""
        last_row = self.centre(frame, spec)[0] + spec.window.ahead_frames
        return last_row * spec.features.hop_length + spec.features.reach_samples

    def due_s(self, frame: int) -> float:
        """Earliest time at which a frame may leave; minus infinity where frames are not paced."""
        return self.started_s + frame / self.fps - self.pacing_lead_s

    def ready_s(self, frame: int, spec: ModelSpec) -> float:
        """Time from which a frame could leave: its look-ahead had arrived and it was due."""
        return max(self._heard_s(frame, spec), self.due_s(frame))

    def stale_frames(self, first: int, count: int, spec: ModelSpec, before_s: float) -> int:
        """Number of leading frames of `first .. first + count - 1` that were ready before
        `before_s`.
        """
        fresh = (place for place in range(count) if self.ready_s(first + place, spec) >= before_s)
        return next(fresh, count)

    def departures_s(self, frames: list[int], last: int, spec: ModelSpec) -> list[float]:
        """Time from which each frame of a batch could leave; a batch leaves as one, when frame
        `last` is due.
        """
        due_s = self.due_s(last)
        return [max(self._heard_s(frame, spec), due_s) for frame in frames]

    def _heard_s(self, frame: int, spec: ModelSpec) -> float:
        """Arrival of the last sample of a frame's look-ahead; evicts older arrivals, so frames must
        be queried in order.
        """
        needed = self.needed_samples(frame, spec)
        while len(self._arrivals) > 1 and self._arrivals[0][0] < needed:
            self._arrivals.popleft()
        return self._arrivals[0][1]
