"""A storage that does not answer is asked by one probe, not by everybody: all others are told so at
once until it is back.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:  # it is `store` that puts the two together
    from orchestrator.faces.storage.layout import Blob
    from orchestrator.faces.storage.store import FaceStore

logger = logging.getLogger(__name__)

AWAY_AFTER_S: Final = 2.0
"""A storage that gave nobody an answer for this long, while somebody waited for one, counts as
away.
"""

LAST_CHANCE_S: Final = 3.0
"""For those who wait already when the storage is found to be away: a hiccup costs them nothing."""

PROBE_S: Final = 2.0
"""Between two questions whether it is back."""

MOST_OF_A_USER: Final = 32
"""Calls for one user's faces under way at once, so that the line has room for others: more than
that user's sessions need.
"""

R = TypeVar("R")


class WatchedStore:
    """`FaceStore` over one that may hang; it owns the task that asks whether the storage is back.
    One event loop owns it.
    """

    def __init__(self, store: FaceStore, probe: str) -> None:
        """`probe` is a folder that is listed to see whether the storage answers."""
        self._store = store
        self._prefix = probe
        self._probe: asyncio.Task[None] | None = None
        self._answered_s = -math.inf
        self._under_way: Counter[str] = Counter()

    @property
    def is_away(self) -> bool:
        """Whether calls fail without asking the storage."""
        return self._probe is not None and not self._probe.done()

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
        """A call that asks for little, so that its silence says something about the storage."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as patience:
                alarm = loop.call_later(AWAY_AFTER_S, self._note_silence, loop.time(), patience)
                try:
                    answer = await self._admitted(key, call)
                finally:
                    alarm.cancel()
        except TimeoutError as error:
            raise OSError(f"it did not answer within {AWAY_AFTER_S + LAST_CHANCE_S:g} s") from error
        self._note_answer()
        return answer

    async def _admitted(self, key: str, call: Callable[[], Awaitable[R]]) -> R:
        if self.is_away:
            raise OSError(
                f"it does not answer, and is asked every {PROBE_S:g} s whether it is back"
            )
        user = "/".join(key.split("/")[:2])
        if self._under_way[user] >= MOST_OF_A_USER:
            raise OSError(f"{MOST_OF_A_USER} calls for this user's faces wait already")
        self._under_way[user] += 1
        try:
            return await call()
        finally:
            self._under_way -= Counter((user,))  # keeps no user whose count is 0

    def _note_silence(self, asked_s: float, patience: asyncio.Timeout) -> None:
        if self._answered_s > asked_s:
            return
        patience.reschedule(asyncio.get_running_loop().time() + LAST_CHANCE_S)
        if not self.is_away:
            logger.warning(
                "the storage of face models does not answer; faces in memory go on speaking"
            )
            self._probe = asyncio.create_task(
                self._until_it_answers(), name="ask whether the storage is back"
            )

    def _note_answer(self) -> None:
        self._answered_s = asyncio.get_running_loop().time()
        if self._probe is not None:
            logger.warning("the storage of face models answers again")
            self._probe.cancel()
            self._probe = None

    async def _until_it_answers(self) -> None:
        while True:
            try:
                await self._store.blobs(self._prefix)
            except OSError:
                await asyncio.sleep(PROBE_S)
            else:
                self._note_answer()
