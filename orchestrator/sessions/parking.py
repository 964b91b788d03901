"""Sessions whose connection was lost: each waits for its client, and ends after a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.core.metrics import Metrics
from orchestrator.sessions.live_session import LiveSession


class ParkedSessions:
    """Sessions without a connection, the longest parked first, each with the timer that ends it."""

    def __init__(self, metrics: Metrics, end: Callable[[LiveSession], None]) -> None:
        """`end` ends a session whose client did not come back."""
        self._metrics = metrics
        self._end = end
        self._timers: dict[LiveSession, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def __contains__(self, live: LiveSession) -> bool:
        return live in self._timers

    def park(self, live: LiveSession, ttl_s: float) -> None:
        """Wait `ttl_s` seconds for the client."""
        loop = asyncio.get_running_loop()
        self._timers[live] = loop.call_later(ttl_s, self._end, live)
        self._count()

    def release(self, live: LiveSession) -> None:
        """Stop the timer of a session that was resumed or ended."""
        timer = self._timers.pop(live, None)
        if timer is not None:
            timer.cancel()
            self._count()

    def oldest_of(self, user_id: str) -> LiveSession | None:
        """The session of the user that was parked first."""
        own = (live for live in self._timers if live.session.user_id == user_id)
        return next(own, None)

    def close(self) -> None:
        """Stop every timer."""
        for timer in self._timers.values():
            timer.cancel()

    def _count(self) -> None:
        self._metrics.waiting_sessions.set(len(self._timers))
