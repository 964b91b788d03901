"""Rate limit of one connection: a client that sends faster waits in its own socket."""

from __future__ import annotations

import asyncio
from typing import Final

from orchestrator.core.config import ServiceConfig
from orchestrator.core.token_bucket import Allowance

BURST_S: Final = 2.0
"""Seconds' worth of messages that may come at once, and no fewer than the inbox takes of the
shortest chunks.
"""

SHORTEST_CHUNK_MS: Final = 10.0

MESSAGE_BYTES: Final = 64 * 1024
"""A message counts once for each of these that it begins: far above 100 ms of any audio."""

YIELD_MESSAGES: Final = 16
"""Messages read in a row before other tasks run: about a millisecond."""


class ReadLimit:
    """Token bucket over a connection's messages, by number and size."""

    def __init__(self, config: ServiceConfig) -> None:
        per_s = config.max_messages_per_s
        burst = max(BURST_S * per_s, config.inbox_ms / SHORTEST_CHUNK_MS)
        self._allowance = Allowance(per_s, burst=burst)
        self._read_in_row = 0

    def take(self, data: str | bytes) -> float:
        """Count a message that was read; returns the time in seconds to wait before the next."""
        now = asyncio.get_running_loop().time()
        return self._allowance.take(now, max(1.0, len(data) / MESSAGE_BYTES))

    def waiting_s(self) -> float:
        """Time for which the client has exceeded the limit."""
        return self._allowance.waiting_s(asyncio.get_running_loop().time())

    async def pause(self, wait_s: float) -> None:
        """Wait, and let other tasks run from time to time where there is nothing to wait for."""
        self._read_in_row += 1
        if wait_s > 0.0 or self._read_in_row >= YIELD_MESSAGES:
            self._read_in_row = 0
            await asyncio.sleep(wait_s)
