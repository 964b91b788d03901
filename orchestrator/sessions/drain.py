"""Graceful shutdown of an instance: nothing new begins, what was begun is finished, clients are
sent to another instance.
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
"""A gateway sends the next attempt to another instance once it saw that this one is not ready."""

RESUME_GRACE_S: Final = 2.0
"""A connection that was opened meanwhile may resume a session within this time."""


class Line(Protocol):
    """One connection of a client."""

    def is_in_turn(self) -> bool:
        """True while one of its sessions has begun to answer a turn that is not over."""
        ...

    def fall_silent(self) -> None:
        """Send nothing more: no other turn begins to be answered."""
        ...

    async def send_away(self) -> None:
        """Close it, and say that the client may connect again at once."""
        ...


class Drain:
    """Switched on once, at the end of an instance; knows what is not finished yet."""

    def __init__(self, metrics: Metrics) -> None:
        self.is_on = False
        self._metrics = metrics
        self._lines: set[Line] = set()
        self._fresh: set[object] = set()
        """Opened meanwhile, a moment ago."""
        self._works = 0
        """Requests over HTTP that take long."""
        self._leaving: dict[Line, asyncio.Task[None]] = {}
        self._over = asyncio.Event()

    def check(self) -> None:
        """Raises SESSION_LIMIT while the instance drains: for whatever would begin anew."""
        if self.is_on:
            raise draining()

    @contextmanager
    def work(self) -> Iterator[None]:
        """A long request: refused while the instance drains, and waited for once it began."""
        self.check()
        self._works += 1
        try:
            yield
        finally:
            self._works -= 1
            self.look()

    @contextmanager
    def carrying(self, line: Line) -> Iterator[None]:
        """A connection's life. One that begins while the instance drains may only resume a
        session.
        """
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
        """Raises SESSION_LIMIT for a session that this connection would open while the instance
        drains; it is sent away once it may.
        """
        if self.is_on:
            asyncio.get_running_loop().call_soon(self._settle, line)
            raise draining()

    def begin(self) -> None:
        """Refuse what is new, and send away every client that nothing is spoken for."""
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
        """Drain until nothing is under way, and for `patience_s` seconds at most."""
        self.begin()
        try:
            async with asyncio.timeout(patience_s):
                await self._over.wait()
            logger.info("drained: nothing is under way")
        except TimeoutError:
            logger.warning("not drained after drain_s = %g s: what is under way is cut", patience_s)

    async def send_all_away(self) -> None:
        """Close every connection, in a turn or not; whoever comes back meanwhile is refused."""
        self.is_on = True
        for line in list(self._lines):
            self._send_away(line)
        if self._leaving:
            await asyncio.wait(list(self._leaving.values()))

    def look(self) -> None:
        """A turn, a session, a connection or a request is over: whoever has nothing left to wait
        for is sent away.
        """
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
            line.fall_silent()  # at once: a turn may be about to begin
            self._leaving[line] = asyncio.create_task(line.send_away(), name="send a client away")
            self._leaving[line].add_done_callback(lambda _: self._leaving.pop(line))


def draining() -> LipSyncError:
    """SESSION_LIMIT of an instance that drains."""
    message = "this instance is shutting down: connect again, and another instance takes over"
    return LipSyncError(
        LipSyncErrorCode.SESSION_LIMIT,
        message,
        details={"reason": protocol.DRAINING, "retryAfterS": RETRY_AFTER_S},
    )
