"""Waits between attempts to connect: exponential backoff with a time limit."""

from __future__ import annotations

import asyncio
from typing import Final

from orchestrator.core.backoff import Backoff

WAITS: Final = Backoff(0.2, 5.0)
"""Waits in seconds before the second and later attempts; the first one is made at once."""


class Retries:
    """Backoff since the service last responded."""

    def __init__(self, give_up_s: float) -> None:
        """All attempts together take `give_up_s` seconds at most."""
        self._give_up_s = give_up_s
        self._wait_s = 0.0
        self._until_s: float | None = None

    def succeeded(self) -> None:
        """Note a response: the next attempt is made at once."""
        self._wait_s, self._until_s = 0.0, None

    async def wait(self) -> bool:
        """Sleep until the next attempt is due; return False where it would exceed the limit."""
        now = asyncio.get_running_loop().time()
        self._until_s = now + self._give_up_s if self._until_s is None else self._until_s
        if now + self._wait_s > self._until_s:
            return False
        await asyncio.sleep(self._wait_s)
        self._wait_s = WAITS.after(self._wait_s)
        return True
