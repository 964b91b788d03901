"""Waits between attempts to connect: exponential back-off with a limit in all."""

from __future__ import annotations

import asyncio
from typing import Final

FIRST_S: Final = 0.2
MOST_S: Final = 5.0
"""Waits between two attempts: the first, doubled each time up to the second."""


class Retries:
    """Counts attempts since the service last answered."""

    def __init__(self, give_up_s: float) -> None:
        """All attempts together take `give_up_s` seconds at most."""
        self._give_up_s = give_up_s
        self._wait_s = 0.0
        self._until_s: float | None = None

    def succeeded(self) -> None:
        """The service answered: the next attempt is a first one, and made at once."""
        self._wait_s, self._until_s = 0.0, None

    async def wait(self) -> bool:
        """Sleep until the next attempt is due; False where it would come too late."""
        now = asyncio.get_running_loop().time()
        self._until_s = now + self._give_up_s if self._until_s is None else self._until_s
        if now + self._wait_s > self._until_s:
            return False
        await asyncio.sleep(self._wait_s)
        self._wait_s = min(MOST_S, max(FIRST_S, 2.0 * self._wait_s))
        return True
