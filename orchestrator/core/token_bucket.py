"""Rate limit of a connection: a token bucket. Bursts pass, and floods wait in their own socket.

Pure: time is an argument.
"""

from __future__ import annotations

EPISODE_ENDS_AT = 0.5
"""Share of the burst. Once it is available again, the next wait is a new episode."""


class Allowance:
    """Token bucket of `rate_per_s` messages on average and `burst` at once."""

    def __init__(self, rate_per_s: float, *, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._left = burst
        self._at_s: float | None = None
        self._spent_since_s: float | None = None

    def take(self, now: float, messages: float = 1.0) -> float:
        """Count messages read at `now`, in monotonic seconds.

        Returns the seconds for which no more should be read.
        """
        if self._at_s is not None:
            self._left = min(self._burst, self._left + (now - self._at_s) * self._rate_per_s)
        self._at_s = now
        self._left -= messages
        if self._left >= EPISODE_ENDS_AT * self._burst:
            self._spent_since_s = None
        elif self._left < 0.0 and self._spent_since_s is None:
            self._spent_since_s = now
        return max(0.0, -self._left / self._rate_per_s)

    def waiting_s(self, now: float) -> float:
        """Return the seconds since which the client exceeds the rate; 0 while it does not."""
        return 0.0 if self._spent_since_s is None else now - self._spent_since_s
