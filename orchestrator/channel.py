"""A bounded queue between two tasks, with its unit, its fill and its overflow policy in the open."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosedError(Exception):
    """Nothing more will come, or may be put."""


class Channel(Generic[T]):
    """A FIFO whose capacity counts `weight(item)`: milliseconds of audio, frames, or whatever the caller measures."""

    def __init__(self, capacity: float, weight: Callable[[T], float]) -> None:
        self._capacity = capacity
        self._weight = weight
        self._items: deque[T] = deque()
        self._load = 0.0
        self._closed = False
        self._changed = asyncio.Condition()

    @property
    def fill(self) -> float:
        """Load over capacity; 1.0 is full."""
        return self._load / self._capacity

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> tuple[T, ...]:
        """What waits now, oldest first."""
        return tuple(self._items)

    async def put(self, item: T) -> None:
        """Wait for room, then append. An item heavier than the channel passes once the channel is empty."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or not self._items or self._fits(item))
            if self._closed:
                raise ChannelClosedError
            self._append(item)
            self._changed.notify_all()

    async def offer(self, item: T, droppable: Callable[[T], bool]) -> list[T]:
        """Append at once and return what had to go: the oldest droppable items, oldest first.

        Where nothing droppable is left, the item is appended all the same: only weightless items are never droppable.
        """
        dropped: list[T] = []
        async with self._changed:
            if self._closed:
                raise ChannelClosedError
            while self._items and not self._fits(item):
                victim = next((index for index, old in enumerate(self._items) if droppable(old)), None)
                if victim is None:
                    break
                dropped.append(self._items[victim])
                self._load -= self._weight(self._items[victim])
                del self._items[victim]
            self._append(item)
            self._changed.notify_all()
        return dropped

    async def get(self) -> T:
        """The oldest item; raises `ChannelClosedError` when the channel is closed and empty."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items) or self._closed)
            if not self._items:
                raise ChannelClosedError
            item = self._items.popleft()
            self._load -= self._weight(item)
            self._changed.notify_all()
            return item

    async def discard(self, unwanted: Callable[[T], bool]) -> int:
        """Remove every unwanted item and say how many there were."""
        async with self._changed:
            kept = deque(item for item in self._items if not unwanted(item))
            removed = len(self._items) - len(kept)
            self._items = kept
            self._load = sum(self._weight(item) for item in kept)
            self._changed.notify_all()
            return removed

    async def close(self) -> None:
        """Let readers finish what is queued; refuse further items."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, item: T) -> bool:
        return self._load + self._weight(item) <= self._capacity

    def _append(self, item: T) -> None:
        self._items.append(item)
        self._load += self._weight(item)
