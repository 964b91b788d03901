"""Bounded memory for things that are dear to make: an LRU with exact accounting, and one maker for
many waiters.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    value: V
    size_bytes: int
    stored_at_s: float


class LruCache(Generic[K, V]):
    """At most `max_items` values of at most `max_bytes` together; the least recently used go first.

    A value's size is measured once, when it is put. With `ttl_s`, an entry is gone once it is that
    old; `now` is any clock in seconds that the caller keeps to. Not for several threads: it belongs
    to one event loop.
    """

    def __init__(
        self,
        *,
        max_items: int,
        max_bytes: int,
        size_of: Callable[[V], int],
        ttl_s: float | None = None,
    ) -> None:
        if max_items < 1 or max_bytes < 1:
            raise ValueError(f"a cache needs room: max_items {max_items}, max_bytes {max_bytes}")
        self.max_items = max_items
        self.max_bytes = max_bytes
        self._size_of = size_of
        self._ttl_s = ttl_s
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._total_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    @property
    def total_bytes(self) -> int:
        """Bytes of all values held, as `size_of` measured them."""
        return self._total_bytes

    def get(self, key: K, *, now: float = 0.0) -> V | None:
        """The value, now the most recently used; None when it is absent or too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._ttl_s is not None and now - entry.stored_at_s >= self._ttl_s:
            self.discard(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: K, value: V, *, now: float = 0.0) -> bool:
        """Hold the value as the most recently used; False when it alone is bigger than the cache,
        which then holds no value for the key.
        """
        self.discard(key)
        size_bytes = self._size_of(value)
        if size_bytes > self.max_bytes:
            return False
        while self._entries and (
            len(self._entries) >= self.max_items or self._total_bytes + size_bytes > self.max_bytes
        ):
            self.discard(next(iter(self._entries)))
        self._entries[key] = _Entry(value, size_bytes, now)
        self._total_bytes += size_bytes
        return True

    def discard(self, key: K) -> bool:
        """Forget the value; says whether there was one."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._total_bytes -= entry.size_bytes
        return True

    def discard_where(self, matches: Callable[[K], bool]) -> int:
        """Forget every value whose key matches; returns how many."""
        keys = [key for key in self._entries if matches(key)]
        for key in keys:
            self.discard(key)
        return len(keys)


@dataclass(slots=True, eq=False)
class _Flight(Generic[V]):
    task: asyncio.Task[V]
    waiters: int = 0


class SingleFlight(Generic[K, V]):
    """Concurrent requests for one key share one call; its result or its error goes to all of them.

    The call belongs to those who wait for it: one waiter's cancellation leaves it running for the
    others, the last one's ends it. Nothing is remembered once it is over.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        """The result of `make()`, or of the call for the same key that is already under way."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = self._start(key, make)
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if flight.waiters == 0 and not flight.task.done():
                self._land(key, flight)
                flight.task.cancel()

    def _start(self, key: K, make: Callable[[], Awaitable[V]]) -> _Flight[V]:
        async def call() -> V:
            return await make()

        flight = _Flight(asyncio.create_task(call(), name=f"single flight {key}"))
        flight.task.add_done_callback(lambda _: self._land(key, flight))
        return flight

    def _land(self, key: K, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
