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

if TYPE_CHECKING:  # it is `store` that puts the two together
    from orchestrator.faces.storage.layout import Blob
    from orchestrator.faces.storage.store import FaceStore

logger = logging.getLogger(__name__)

AWAY_AFTER_S: Final = 2.0
"""A storage that answered no call for this long, while one waited, counts as away."""

GRACE_S: Final = 3.0
"""Further patience of the calls that wait when the storage is found to be away: a hiccup costs them
nothing.
"""

PROBE_S: Final = 2.0
"""Between two probes for recovery."""

MAX_CALLS_PER_USER: Final = 32
"""Concurrent calls for one user's faces, so that the queue has room for other users. More than one
user's sessions need.
"""

R = TypeVar("R")


class CircuitBreakerStore:
    """`FaceStore` over one that may hang. It owns the probing task; one event loop owns it."""

    def __init__(self, store: FaceStore, probe: str) -> None:
        """`probe` is the folder that a probe lists."""
        self._store = store
        self._prefix = probe
        self._breaker = CircuitBreaker(Backoff(0.0, 0.0), Backoff(PROBE_S, PROBE_S))
        self._probe: asyncio.Task[None] | None = None
        self._answered_s = -math.inf
        self._under_way: Counter[str] = Counter()

    @property
    def is_away(self) -> bool:
        """True while calls fail fast."""
        return self._breaker.is_open

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        return await self._watched(prefix, lambda: self._store.blobs(prefix))

    async def read(self, key: str) -> bytes | None:
        return await self._watched(key, lambda: self._store.read(key))

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

    async def _watched(self, key: str, call: Callable[[], Awaitable[R]]) -> R:
        """Time a short call, and note the storage's silence or answer."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as patience:
                alarm = loop.call_later(AWAY_AFTER_S, self._note_silence, loop.time(), patience)
                try:
                    answer = await self._admitted(key, call)
                finally:
                    alarm.cancel()
        except TimeoutError as error:
            raise OSError(f"it did not answer within {AWAY_AFTER_S + GRACE_S:g} s") from error
        self._note_answer()
        return answer

    async def _admitted(self, key: str, call: Callable[[], Awaitable[R]]) -> R:
        if self.is_away:
            raise OSError(f"it does not answer, and is probed every {PROBE_S:g} s; try again")
        user = "/".join(key.split("/")[:2])
        if self._under_way[user] >= MAX_CALLS_PER_USER:
            raise OSError(f"{MAX_CALLS_PER_USER} calls for this user's faces wait already")
        self._under_way[user] += 1
        try:
            return await call()
        finally:
            self._under_way -= Counter((user,))  # keeps no user whose count is 0

    def _note_silence(self, asked_s: float, patience: asyncio.Timeout) -> None:
        if self._answered_s > asked_s:
            return
        patience.reschedule(asyncio.get_running_loop().time() + GRACE_S)
        if not self.is_away:
            logger.warning("the face store does not answer; faces in memory stay in use")
            self._breaker.open(asyncio.get_running_loop().time())
            self._probe = asyncio.create_task(self._until_it_answers(), name="probe the face store")

    def _note_answer(self) -> None:
        self._answered_s = asyncio.get_running_loop().time()
        self._breaker.close(self._answered_s)
        if self._probe is not None:
            logger.warning("the face store answers again")
            self._probe.cancel()
            self._probe = None

    async def _until_it_answers(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._breaker.is_open:
                try:
                    await self._store.blobs(self._prefix)
                except OSError:
                    self._breaker.probe_failed(loop.time())
                    await asyncio.sleep(self._breaker.wait_s)
                else:
                    self._note_answer()
        finally:
            if self._probe is asyncio.current_task():  # without it calls would fail forever
                self._breaker.close(loop.time())
