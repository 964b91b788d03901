"""Circuit breaker for the face store.

After `AWAY_AFTER_S` without a response calls fail fast, and one probe checks for recovery.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from orchestrator.core.backoff import Backoff
from orchestrator.core.circuit_breaker import CircuitBreaker

if TYPE_CHECKING:  # annotations only
    from orchestrator.faces.storage.layout import Blob
    from orchestrator.faces.storage.store import FaceStore

logger = logging.getLogger(__name__)

AWAY_AFTER_S: Final = 2.0
"""Time without any response, while a call waits, after which the circuit opens."""

GRACE_S: Final = 3.0
"""Time that waiting calls still have once the circuit opens, so that a hiccup fails none."""

PROBE_S: Final = 2.0
"""Interval between two recovery probes."""

MAX_CALLS_PER_USER: Final = 32
"""Concurrent calls per user, so that one user cannot fill the queue.

More than the sessions of one user need.
"""

R = TypeVar("R")


class CircuitBreakerStore:
    """`FaceStore` that fails fast while the wrapped store hangs.

    Owns the probe task. One event loop owns the store.
    """

    def __init__(self, store: FaceStore, probe: str) -> None:
        """`probe` is the folder that a recovery probe lists."""
        self._store = store
        self._prefix = probe
        self._breaker = CircuitBreaker(Backoff(0.0, 0.0), Backoff(PROBE_S, PROBE_S))
        self._probe: asyncio.Task[None] | None = None
        self._responded_s = -math.inf
        self._under_way: Counter[str] = Counter()

    @property
    def is_away(self) -> bool:
        """True while calls fail fast."""
        return self._breaker.is_open

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        return await self._timed(prefix, lambda: self._store.blobs(prefix))

    async def read(self, key: str) -> bytes | None:
        return await self._timed(key, lambda: self._store.read(key))

    async def write(self, key: str, data: bytes) -> None:
        await self._admitted(key, lambda: self._store.write(key, data))

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        await self._admitted(prefix, lambda: self._store.replace(prefix, files))

    async def delete(self, prefix: str) -> bool:
        return await self._admitted(prefix, lambda: self._store.delete(prefix))

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait([self._probe])
        await self._store.close()

    async def _timed(self, key: str, call: Callable[[], Awaitable[R]]) -> R:
        """Time a read, and record silence or a response."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as deadline:
                alarm = loop.call_later(AWAY_AFTER_S, self._note_silence, loop.time(), deadline)
                try:
                    result = await self._admitted(key, call)
                finally:
                    alarm.cancel()
        except TimeoutError as error:
            raise OSError(f"no response within {AWAY_AFTER_S + GRACE_S:g} s") from error
        self._note_response()
        return result

    async def _admitted(self, key: str, call: Callable[[], Awaitable[R]]) -> R:
        if self.is_away:
            raise OSError(f"it does not answer; probed every {PROBE_S:g} s, try again")
        user = "/".join(key.split("/")[:2])
        if self._under_way[user] >= MAX_CALLS_PER_USER:
            raise OSError(
                f"{MAX_CALLS_PER_USER} calls for the faces of this user are waiting; try again"
            )
        self._under_way[user] += 1
        try:
            return await call()
        finally:
            self._under_way -= Counter((user,))  # drops users whose count is 0

    def _note_silence(self, sent_s: float, deadline: asyncio.Timeout) -> None:
        if self._responded_s > sent_s:
            return
        deadline.reschedule(asyncio.get_running_loop().time() + GRACE_S)
        if not self.is_away:
            logger.warning("face store does not respond: circuit open, cached faces stay in use")
            self._breaker.open(asyncio.get_running_loop().time())
            self._probe = asyncio.create_task(
                self._probe_until_recovery(), name="probe the face store"
            )

    def _note_response(self) -> None:
        self._responded_s = asyncio.get_running_loop().time()
        self._breaker.close(self._responded_s)
        if self._probe is not None:
            logger.warning("face store responds again: circuit closed")
            self._probe.cancel()
            self._probe = None

    async def _probe_until_recovery(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._breaker.is_open:
                try:
                    await self._store.blobs(self._prefix)
                except OSError:
                    self._breaker.probe_failed(loop.time())
                    await asyncio.sleep(self._breaker.wait_s)
                else:
                    self._note_response()
        finally:
            if (
                self._probe is asyncio.current_task()
            ):  # an open circuit without a probe would never close
                self._breaker.close(loop.time())
