"""Lets the chunks of several sessions begin together: their requests reach Triton as a batch, and
the work finds warm caches.

A server fuses what lies in its queue at the same moment, and sessions whose chunks come ten times a
second at moments of their own hardly ever meet there. So where company is to be expected, a chunk
waits for the end of a short window that all sessions share.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Final

RECENT: Final = 32
"""So many chunks tell how busy the service is: those of 0.2 s with sixteen sessions, of 3 s with
one.
"""

COMPANY: Final = 1.5
"""Chunks that have to be expected in a window for the wait to be worth it."""


class BatchWindow:
    """One for all sessions of a process."""

    def __init__(self, window_ms: float) -> None:
        """With 0 nobody waits."""
        self._window_s = window_ms / 1000.0
        self._recent_s: deque[float] = deque(maxlen=RECENT)
        self._end: asyncio.Future[None] | None = None

    async def gather(self, arrived_s: float) -> None:
        """Waits for the end of the window; not where few sessions speak, nor for a chunk that has
        waited a window already.
        """
        now = asyncio.get_running_loop().time()
        self._recent_s.append(now)
        if self._has_company(now) and now - arrived_s < self._window_s:
            await asyncio.shield(self._end_of_window(now))

    def _has_company(self, now: float) -> bool:
        if len(self._recent_s) < RECENT:
            return False
        return RECENT * self._window_s >= COMPANY * (now - self._recent_s[0])

    def _end_of_window(self, now: float) -> asyncio.Future[None]:
        if self._end is None or self._end.done():
            loop = asyncio.get_running_loop()
            self._end = loop.create_future()
            loop.call_at(
                (math.floor(now / self._window_s) + 1) * self._window_s, self._end.set_result, None
            )
        return self._end
