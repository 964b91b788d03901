"""How fast a connection is read: a token bucket, so that bursts pass and floods wait in their own
socket. Time is an argument.
"""

from __future__ import annotations

EPISODE_ENDS_AT = 0.5
"""Once so much of the burst is allowed again, the next wait is a new episode."""


class Allowance:
    """`rate_per_s` messages on average, `burst` at once."""

    def __init__(self, rate_per_s: float, *, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._left = burst
        self._at_s: float | None = None
        self._spent_since_s: float | None = None

    def take(self, now: float, messages: float = 1.0) -> float:
        """Count what was read at `now`, in monotonic seconds; for how long nothing more is to be
        read.
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
        """For how long the client has sent more than is read."""
        return 0.0 if self._spent_since_s is None else now - self._spent_since_s
