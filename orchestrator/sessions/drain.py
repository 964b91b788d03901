"""Graceful shutdown (drain) of an instance: refuse new work, finish what has begun, and send
clients to another instance.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from orchestrator import protocol
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics

logger = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 1
"""Time after which a client retries: a gateway routes it to another instance once this one is not
ready.
"""

RESUME_GRACE_S: Final = 2.0
"""Time in which a connection opened meanwhile may resume a session."""


class Line(Protocol):
    """Connection of a client, as the drain sees it."""

    def is_in_turn(self) -> bool:
        """True while one of its sessions answers a turn."""
        ...

    def fall_silent(self) -> None:
        """Send nothing more: no other turn begins to be answered."""
        ...

    async def send_away(self) -> None:
        """Close it with the code by which the client connects again at once."""
        ...


class Drain:
    """Tracks unfinished work; switched on once, at the end of an instance."""

    def __init__(self, metrics: Metrics) -> None:
        self.is_on = False
        self._metrics = metrics
        self._lines: set[Line] = set()
        self._fresh: set[object] = set()
        """Connections opened during the drain, within their grace time."""
        self._works = 0
        """Long HTTP requests in progress."""
        self._leaving: dict[Line, asyncio.Task[None]] = {}
        self._over = asyncio.Event()

    def check(self) -> None:
        """Raise SESSION_LIMIT while the instance drains; to be called before new work."""
        if self.is_on:
            raise draining()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Track a long request: refused while the instance drains, and awaited once it began."""
        self.check()
        self._works += 1
        try:
            yield
        finally:
            self._works -= 1
            self.look()

    @contextmanager
    def carrying(self, line: Line) -> Iterator[None]:
        """Track a connection; one that begins during the drain may only resume a session."""
        self._lines.add(line)
        if self.is_on:
            self._fresh.add(line)
            asyncio.get_running_loop().call_later(RESUME_GRACE_S, self._settle, line)
        try:
            yield
        finally:
            self._fresh.discard(line)
            self._lines.discard(line)
            self.look()

    def refuse(self, line: object) -> None:
        """Raise SESSION_LIMIT for a session that this connection would open while the instance
        drains; the connection is then closed.
        """
        if self.is_on:
            asyncio.get_running_loop().call_soon(self._settle, line)
            raise draining()

    def begin(self) -> None:
        """Refuse new work, and close every connection without a turn in progress."""
        self.is_on = True
        self._metrics.draining.set(1)
        speaking = sum(line.is_in_turn() for line in self._lines)
        logger.info(
            "draining: %d connections are in a turn, %d long requests are under way",
            speaking,
            self._works,
        )
        self.look()

    async def finish(self, patience_s: float) -> None:
        """Drain until no work is in progress, at most for `patience_s` seconds."""
        self.begin()
        try:
            async with asyncio.timeout(patience_s):
                await self._over.wait()
            logger.info("drained: nothing is under way")
        except TimeoutError:
            logger.warning("not drained after drain_s = %g s: what is under way is cut", patience_s)

    async def send_all_away(self) -> None:
        """Close every connection, in a turn or not; new ones are refused."""
        self.is_on = True
        for line in list(self._lines):
            self._send_away(line)
        if self._leaving:
            await asyncio.wait(list(self._leaving.values()))

    def look(self) -> None:
        """Close idle connections; called whenever a turn, session, connection or request ends."""
        if not self.is_on:
            return
        for line in [
            line for line in self._lines if line not in self._fresh and not line.is_in_turn()
        ]:
            self._send_away(line)
        if not self._works and not any(
            line.is_in_turn() for line in self._lines if line not in self._leaving
        ):
            self._over.set()

    def _settle(self, line: object) -> None:
        self._fresh.discard(line)
        self.look()

    def _send_away(self, line: Line) -> None:
        if line not in self._leaving:
            line.fall_silent()  # at once, since a turn may be about to begin
            self._leaving[line] = asyncio.create_task(line.send_away(), name="send a client away")
            self._leaving[line].add_done_callback(lambda _: self._leaving.pop(line))


def draining() -> LipSyncError:
    """SESSION_LIMIT with the reason that the instance drains."""
    message = "this instance is shutting down: connect again, and another instance takes over"
    return LipSyncError(
        LipSyncErrorCode.SESSION_LIMIT,
        message,
        details={"reason": protocol.DRAINING, "retryAfterS": RETRY_AFTER_S},
    )
