"""Exponential backoff: waits that double between a first one and a cap. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits of `first_s`, twice that, and so on, at most `max_s`; the caller keeps the last one."""

    first_s: float
    max_s: float

    def after(self, wait_s: float) -> float:
        """Return the wait that follows one of `wait_s` seconds; 0 where there was none yet."""
        return min(max(2.0 * wait_s, self.first_s), self.max_s)
