"""Batch window: chunks of several sessions begin together, so that Triton can batch them.

Triton batches the requests that are in its queue at the same moment. Chunks of independent sessions
rarely meet there. If enough chunks are expected, each waits for the end of a short window that all
sessions share.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Final

RECENT_CHUNKS: Final = 32
"""Chunks from which the arrival rate is estimated: 0.2 s with sixteen sessions, 3 s with one."""

MIN_CHUNKS_PER_WINDOW: Final = 1.5
"""Wait for a batch only if at least this many chunks are expected in the window."""


class BatchWindow:
    """Window shared by all sessions of a process."""

    def __init__(self, window_ms: float) -> None:
        """No chunk waits with a window of 0 ms."""
        self._window_s = window_ms / 1000.0
        self._recent_s: deque[float] = deque(maxlen=RECENT_CHUNKS)
        self._end: asyncio.Future[None] | None = None

    async def gather(self, arrived_s: float) -> None:
        """Wait for the end of the window, unless few sessions speak or the chunk has already waited
        as long.
        """
        now = asyncio.get_running_loop().time()
        self._recent_s.append(now)
        if self._is_worth_it(now) and now - arrived_s < self._window_s:
            await asyncio.shield(self._end_of_window(now))

    def _is_worth_it(self, now: float) -> bool:
        if len(self._recent_s) < RECENT_CHUNKS:
            return False
        return RECENT_CHUNKS * self._window_s >= MIN_CHUNKS_PER_WINDOW * (now - self._recent_s[0])

    def _end_of_window(self, now: float) -> asyncio.Future[None]:
        if self._end is None or self._end.done():
            loop = asyncio.get_running_loop()
            self._end = loop.create_future()
            loop.call_at(
                (math.floor(now / self._window_s) + 1) * self._window_s, self._end.set_result, None
            )
        return self._end
