"""Bounded queue between two tasks, with explicit unit, fill and overflow policy.

A full channel gives backpressure (`put` waits) or drops the oldest items (`offer`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosedError(Exception):
    """The channel is closed: it takes no item, and has none left."""


class Channel(Generic[T]):
    """FIFO queue whose capacity is in units of `weight(item)`: frames, or milliseconds of audio.

    Tasks of one event loop share it without a lock: no method awaits between a check and the change
    that follows it.
    """

    def __init__(self, capacity: float, weight: Callable[[T], float]) -> None:
        self._capacity = capacity
        self._weight = weight
        self._items: deque[T] = deque()
        self._load = 0.0
        self._closed = False
        self._waiting: list[asyncio.Future[None]] = []
        """Futures of readers and writers that wait for a change; each then checks again."""

    @property
    def fill(self) -> float:
        """Load over capacity; 1.0 is full."""
        return self._load / self._capacity

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> tuple[T, ...]:
        """Return the queued items, oldest first."""
        return tuple(self._items)

    async def put(self, item: T) -> None:
        """Wait for room (backpressure), then append.

        An item heavier than the capacity is appended once the channel is empty.
        """
        while self._items and not self._closed and not self._fits(item):
            await self._change()
        if self._closed:
            raise ChannelClosedError
        self._append(item)
        self._wake()

    async def offer(self, item: T, droppable: Callable[[T], bool]) -> list[T]:
        """Append at once, and return the items dropped for it: the oldest droppable ones, in order.

        Without a droppable item left, the item is appended beyond the capacity. That is harmless:
        only weightless items are never droppable.
        """
        if self._closed:
            raise ChannelClosedError
        dropped: list[T] = []
        while self._items and not self._fits(item):
            victim = next((index for index, old in enumerate(self._items) if droppable(old)), None)
            if victim is None:
                break
            dropped.append(self._items[victim])
            self._load -= self._weight(self._items[victim])
            del self._items[victim]
        self._append(item)
        self._wake()
        return dropped

    async def get(self) -> T:
        """Take the oldest item; raises `ChannelClosedError` when closed and empty."""
        while not self._items:
            if self._closed:
                raise ChannelClosedError
            await self._change()
        item = self._items.popleft()
        self._load -= self._weight(item)
        self._wake()
        return item

    def put_back(self, item: T) -> None:
        """Put an item that was taken but not used back at the head, even of a closed channel."""
        self._items.appendleft(item)
        self._load += self._weight(item)
        self._wake()

    async def discard(self, unwanted: Callable[[T], bool]) -> int:
        """Remove every unwanted item; returns their number."""
        kept = deque(item for item in self._items if not unwanted(item))
        removed = len(self._items) - len(kept)
        self._items = kept
        self._load = sum(self._weight(item) for item in kept)
        self._wake()
        return removed

    async def close(self) -> None:
        """Refuse further items; readers may take what is queued."""
        self._closed = True
        self._wake()

    async def _change(self) -> None:
        """Wait until something is added, taken or closed.

        The caller must check again: another task may have been faster.
        """
        change = asyncio.get_running_loop().create_future()
        self._waiting.append(change)
        try:
            await change
        except asyncio.CancelledError:
            if change in self._waiting:
                self._waiting.remove(change)
            raise

    def _wake(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for change in waiting:
                if not change.done():  # a task that was cancelled waits no more
                    change.set_result(None)

    def _fits(self, item: T) -> bool:
        return self._load + self._weight(item) <= self._capacity

    def _append(self, item: T) -> None:
        self._items.append(item)
        self._load += self._weight(item)
