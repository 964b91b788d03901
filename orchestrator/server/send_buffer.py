"""Bounds what waits unsent below a WebSocket, so that a slow client is noticed by its frames, and
soon.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Final

from aiohttp.abc import AbstractStreamWriter

UNSENT_BYTES: Final = 16 * 1024
"""What may wait for the network in the kernel, a quarter of a second of 500 kbit/s; the transport
keeps the message it is at, no more. The rest waits as frames, where it is counted and the coder can
give way. What is under way does not count: a long fast link stays full.
"""

WHERE_UNKNOWN_BYTES: Final = 128 * 1024
"""What is under way and unsent together, where the system cannot tell them apart: 10 Mbit/s at 100
ms.
"""

WRITER_LIMIT: Final = sys.maxsize
"""Bytes after which a WebSocket itself would make its writers wait: never, since there one that
gives up takes the others with it.
"""


def bound_unsent(transport: asyncio.Transport | None) -> None:
    """Writers wait from now on as soon as a message waits for the network."""
    if transport is None:
        return
    transport.set_write_buffer_limits(high=0)
    raw = transport.get_extra_info("socket")
    if raw is None:
        return
    with contextlib.suppress(OSError):  # not every socket is a TCP one
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        else:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WHERE_UNKNOWN_BYTES)


class Room:
    """Where the writers of one connection wait until its transport holds nothing; each may give up
    without the others' notice.

    They must not wait in `drain` themselves: all would share one future there, and whoever is
    cancelled cancels that.
    """

    def __init__(
        self, transport: asyncio.Transport | None, writer: AbstractStreamWriter, patience_s: float
    ) -> None:
        self._transport = transport
        self._writer = writer
        self._patience_s = patience_s
        self._draining: asyncio.Task[None] | None = None
        """Ends when there is room, or with the connection."""

    async def wait(self) -> None:
        """Until what was written is gone. Raises ConnectionError when the client went away, or
        takes nothing for so long that it is cut.
        """
        if self._transport is None or self._transport.get_write_buffer_size() == 0:
            return
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain(), name="wait for the network")
        draining = self._draining
        done, _ = await asyncio.wait([draining], timeout=self._patience_s)
        if not done:
            self._transport.abort()
            raise ConnectionResetError("the client takes no data")
        if draining.cancelled() or self._transport.is_closing():
            raise ConnectionResetError("the client is gone")

    async def _drain(self) -> None:
        with contextlib.suppress(ConnectionError):  # each of the writers is told
            await self._writer.drain()
