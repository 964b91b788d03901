"""How many messages a connection may send: a token bucket, so that bursts pass and floods do not. Time is an argument."""

from __future__ import annotations


class Allowance:
    """`rate_per_s` on average, `burst_s` seconds' worth at once."""

    def __init__(self, rate_per_s: float, *, burst_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._most = rate_per_s * burst_s
        self._left = self._most
        self._at_s: float | None = None

    def take(self, now: float) -> bool:
        """Whether one more message is allowed at `now`, in monotonic seconds."""
        if self._at_s is not None:
            self._left = min(self._most, self._left + (now - self._at_s) * self._rate_per_s)
        self._at_s = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
