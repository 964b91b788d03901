"""Thread pool of one storage: bounded threads and queue.

A call that hangs blocks neither frames nor the exit of the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

MAX_THREADS: Final = 8
"""Concurrent calls; below the 10 connections that Google's client keeps open."""

MAX_WAITING_CALLS: Final = 256
"""Calls in the queue; further ones are refused at once."""

GIVE_UP_S: Final = 24.0
"""Longest wait of a caller, queueing included.

The call itself ends only when the storage returns.
"""

CLOSE_S: Final = 3.0
"""Time for running calls at shutdown, so that a face in progress is written completely."""

P = ParamSpec("P")
R = TypeVar("R")


class StorageExecutor(Executor):
    """Executor of at most `MAX_THREADS` daemon threads.

    Threads end when the queue is empty, and the exit of the interpreter waits for none of them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._under_way: set[Future[Any]] = set()
        self._threads = 0

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work` in a thread and return its result.

        Raises OSError after `GIVE_UP_S`, or at once when the queue is full.
        """
        call = asyncio.get_running_loop().run_in_executor(self, partial(work, *args, **kwargs))
        try:
            async with asyncio.timeout(GIVE_UP_S):
                return await call
        except TimeoutError as error:
            raise OSError(f"{self._name} did not answer within {GIVE_UP_S:g} s") from error

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a call, see `Executor.submit`; OSError when the queue is full."""
        future: Future[R] = Future()
        with self._lock:
            if len(self._waiting) >= MAX_WAITING_CALLS:
                self._waiting = deque(each for each in self._waiting if not each[0].cancelled())
            if len(self._waiting) >= MAX_WAITING_CALLS:
                raise OSError(f"{MAX_WAITING_CALLS} calls of {self._name} are waiting; try again")
            self._waiting.append((future, partial(fn, *args, **kwargs)))
            self._under_way.add(future)
            is_one_more = self._threads < MAX_THREADS
            self._threads += is_one_more
        future.add_done_callback(self._forget)
        if is_one_more:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    async def close(self) -> None:
        """Wait for running calls, for `CLOSE_S` at most."""
        with self._lock:
            calls = [asyncio.wrap_future(future) for future in self._under_way]
        if calls:
            await asyncio.wait([asyncio.gather(*calls, return_exceptions=True)], timeout=CLOSE_S)

    def _work(self) -> None:
        while (waiting := self._next()) is not None:
            future, call = waiting
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - an executor hands every exception to the future
                future.set_exception(error)

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._under_way.discard(future)
