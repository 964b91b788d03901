"""LRU cache bounded by count and bytes, and request coalescing (single flight)."""

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
    """Cache of at most `max_items` values and `max_bytes`; evicts the least recently used first.

    A value's size is measured once, when it is put. With `ttl_s`, an entry expires at that age.
    `now` is any clock in seconds, the same for all calls. Not thread-safe: one event loop owns it.
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
        """Size of all values held, in bytes, by `size_of`."""
        return self._total_bytes

    def get(self, key: K, *, now: float = 0.0) -> V | None:
        """Return the value and mark it as most recently used; None when absent or expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._ttl_s is not None and now - entry.stored_at_s >= self._ttl_s:
            self.discard(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: K, value: V, *, now: float = 0.0) -> bool:
        """Store the value as the most recently used, and evict others to make room.

        Returns False where the value alone exceeds `max_bytes`: the key then has no value.
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
        """Evict the value; returns True where there was one."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._total_bytes -= entry.size_bytes
        return True

    def discard_where(self, matches: Callable[[K], bool]) -> int:
        """Evict every value whose key matches; returns their number."""
        keys = [key for key in self._entries if matches(key)]
        for key in keys:
            self.discard(key)
        return len(keys)


@dataclass(slots=True, eq=False)
class _Flight(Generic[V]):
    task: asyncio.Task[V]
    waiters: int = 0


class SingleFlight(Generic[K, V]):
    """Request coalescing: concurrent requests for one key share one call, its result and error.

    Cancelling one waiter leaves the call running for the others; cancelling the last one cancels
    it. Results are not cached.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        """Return the result of `make()`, or of the call in progress for the same key."""
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
