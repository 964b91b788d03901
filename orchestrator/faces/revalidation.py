"""Stale-while-revalidate: each read revalidates the cached value.

After `PATIENCE_S` the caller gets the cached value, and the check continues in the background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, Generic, TypeVar

PATIENCE_S: Final = 0.5
"""Longest wait for a revalidation before a cached value is used."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Revalidations(Generic[K, V]):
    """Owner of one revalidation task per key.

    Concurrent callers share the task, and the deadline of the first one.
    """

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[V]] = {}
        self._until_s: dict[K, float] = {}

    async def within(
        self, until_s: float, key: K, check: Callable[[], Coroutine[Any, Any, V]], known: V
    ) -> V:
        """Result or error of `check()` by `until_s` of the loop's clock, else `known`.

        A late check continues in the background.
        """
        task = self._tasks.get(key) or self._start(key, check, until_s)
        await asyncio.wait(
            [task],
            timeout=max(0.0, min(until_s, self._until_s[key]) - asyncio.get_running_loop().time()),
        )
        return task.result() if task.done() and not task.cancelled() else known

    def drop(self, key: K) -> None:
        """Cancel the revalidation of a key whose value its owner just wrote."""
        task = self._tasks.pop(key, None)
        if task is not None:
            del self._until_s[key]
            task.cancel()

    async def close(self) -> None:
        """Cancel all revalidations."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(
        self, key: K, check: Callable[[], Coroutine[Any, Any, V]], until_s: float
    ) -> asyncio.Task[V]:
        self._until_s[key] = until_s
        task = self._tasks[key] = asyncio.create_task(check(), name=f"revalidate {key}")
        task.add_done_callback(lambda done: self._over(key, done))
        return task

    def _over(self, key: K, task: asyncio.Task[V]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key], self._until_s[key]
        if not task.cancelled():
            task.exception()  # retrieved: waiting callers got it, the next caller checks again
