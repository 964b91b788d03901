"""Report of one benchmark session: frames, latencies and faults as its client saw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class SessionReport:
    """Frames, latencies and faults of one session."""

    expected_frames: int
    latencies_ms: list[float] = field(default_factory=list)
    """Latency of each frame: from sending the last sample of its look-ahead to its arrival."""
    first_frame_ms: float = math.nan
    """From sending the first chunk to the arrival of the first frame; NaN without frames."""
    holes: int = 0
    """Frames whose `sequenceNumber` does not follow the one before."""
    bytes_received: int = 0
    models: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    """Errors and model switches."""

    @property
    def frames(self) -> int:
        """Number of frames received."""
        return len(self.latencies_ms)

    @property
    def complete(self) -> bool:
        """True where every frame arrived in order; rounding may add or drop the last one."""
        return self.holes == 0 and abs(self.frames - self.expected_frames) <= 1

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latencies; infinite without frames."""
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms else math.inf


def all_latencies_ms(reports: Sequence[SessionReport]) -> list[float]:
    """Latencies of all frames of all sessions."""
    return [latency for report in reports for latency in report.latencies_ms]
