"""Circuit breaker: fail fast while a dependency is down, and probe for its recovery.

Pure: it reads no clock. `now` is monotonic seconds.
"""

from __future__ import annotations

import math
from dataclasses import replace

from orchestrator.core.backoff import Backoff


class CircuitBreaker:
    """Closed while calls are allowed. A failure opens it, and an answered probe closes it."""

    def __init__(self, cool_downs: Backoff, probes: Backoff, *, steady_s: float = 0.0) -> None:
        """`cool_downs` are the waits before the first probe, `probes` those after failed ones.

        The cool-down grows where a failure comes within `steady_s` of the last recovery
        (flapping); otherwise it starts anew.
        """
        self._cool_downs = cool_downs
        self._probes = probes
        self._steady_s = steady_s
        self._cool_down_s = 0.0
        self._wait_s = 0.0
        self._due_s: float | None = None
        self._closed_s = -math.inf

    @property
    def is_open(self) -> bool:
        """True while calls should fail fast."""
        return self._due_s is not None

    @property
    def wait_s(self) -> float:
        """Length of the current or last wait for a probe."""
        return self._wait_s

    def open(self, now: float) -> None:
        """Note a failure; one while it is open changes nothing."""
        if self.is_open:
            return
        flaps = now - self._closed_s < self._steady_s
        self._cool_down_s = self._cool_downs.after(self._cool_down_s if flaps else 0.0)
        self._wait(self._cool_down_s, now)

    def is_due(self, now: float) -> bool:
        """Return True where it is open and a probe may be sent."""
        return self._due_s is not None and now >= self._due_s

    def probe_failed(self, now: float, *, max_s: float | None = None) -> None:
        """Wait longer for the next probe, at most `max_s` instead of the usual cap."""
        probes = self._probes if max_s is None else replace(self._probes, max_s=max_s)
        self._wait(probes.after(self._wait_s), now)

    def close(self, now: float) -> None:
        """Note an answer: calls are allowed again."""
        self._due_s, self._closed_s = None, now

    def _wait(self, wait_s: float, now: float) -> None:
        self._wait_s = wait_s
        self._due_s = now + wait_s
