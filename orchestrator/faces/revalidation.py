"""Whether what is in memory still counts is asked each time, but nobody waits long for the answer:
the question outlives who asked it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, Generic, TypeVar

PATIENCE_S: Final = 0.5
"""A session begins with the copy in memory when storage takes longer than this to say that it is
outdated.
"""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Revalidations(Generic[K, V]):
    """Owns a task for each key that is being checked; all who ask meanwhile share it, and the
    patience of the first.
    """

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[V]] = {}
        self._until_s: dict[K, float] = {}

    async def within(
        self, until_s: float, key: K, check: Callable[[], Coroutine[Any, Any, V]], known: V
    ) -> V:
        """What `check()` gives or raises where that is there by `until_s` of the loop's clock, else
        `known` while it goes on.
        """
        task = self._tasks.get(key) or self._start(key, check, until_s)
        await asyncio.wait(
            [task],
            timeout=max(0.0, min(until_s, self._until_s[key]) - asyncio.get_running_loop().time()),
        )
        return task.result() if task.done() and not task.cancelled() else known

    def drop(self, key: K) -> None:
        """What is being found out about the key counts no more: its owner knows better."""
        task = self._tasks.pop(key, None)
        if task is not None:
            del self._until_s[key]
            task.cancel()

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(
        self, key: K, check: Callable[[], Coroutine[Any, Any, V]], until_s: float
    ) -> asyncio.Task[V]:
        self._until_s[key] = until_s
        task = self._tasks[key] = asyncio.create_task(check(), name=f"check whether {key} changed")
        task.add_done_callback(lambda done: self._over(key, done))
        return task

    def _over(self, key: K, task: asyncio.Task[V]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key], self._until_s[key]
        if not task.cancelled():
            task.exception()  # told to those who still waited; the next one asks anew
