"""A bounded queue between two tasks, with its unit, its fill and its overflow policy in the
open.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosedError(Exception):
    """Nothing more will come, or may be put."""


class Channel(Generic[T]):
    """A FIFO whose capacity counts `weight(item)`: milliseconds of audio, frames, or whatever the
    caller measures.

    Tasks of one event loop share it without a lock: nothing below awaits between a look and the
    change that follows it.
    """

    def __init__(self, capacity: float, weight: Callable[[T], float]) -> None:
        self._capacity = capacity
        self._weight = weight
        self._items: deque[T] = deque()
        self._load = 0.0
        self._closed = False
        self._waiting: list[asyncio.Future[None]] = []
        """Readers and writers until the next change; each then looks again."""

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
        """Wait for room, then append. An item heavier than the channel passes once the channel is
        empty.
        """
        while self._items and not self._closed and not self._fits(item):
            await self._change()
        if self._closed:
            raise ChannelClosedError
        self._append(item)
        self._wake()

    async def offer(self, item: T, droppable: Callable[[T], bool]) -> list[T]:
        """Append at once and return what had to go: the oldest droppable items, oldest first.

        Where nothing droppable is left, the item is appended all the same: only weightless items
        are never droppable.
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
        """The oldest item; raises `ChannelClosedError` when the channel is closed and empty."""
        while not self._items:
            if self._closed:
                raise ChannelClosedError
            await self._change()
        item = self._items.popleft()
        self._load -= self._weight(item)
        self._wake()
        return item

    def put_back(self, item: T) -> None:
        """Return an item to the head, of a closed channel too: it was taken and could not be
        used.
        """
        self._items.appendleft(item)
        self._load += self._weight(item)
        self._wake()

    async def discard(self, unwanted: Callable[[T], bool]) -> int:
        """Remove every unwanted item and say how many there were."""
        kept = deque(item for item in self._items if not unwanted(item))
        removed = len(self._items) - len(kept)
        self._items = kept
        self._load = sum(self._weight(item) for item in kept)
        self._wake()
        return removed

    async def close(self) -> None:
        """Let readers finish what is queued; refuse further items."""
        self._closed = True
        self._wake()

    async def _change(self) -> None:
        """Until something is added, taken or closed; the caller has to look again, for another task
        may have been faster.
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
