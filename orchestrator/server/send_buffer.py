"""Backpressure of a WebSocket: bound the unsent bytes below it, and wait until they are sent.

Small buffers make a slow client visible early, in the queue of frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Final

from aiohttp.abc import AbstractStreamWriter

UNSENT_BYTES: Final = 16 * 1024
"""Limit of unsent bytes in the kernel: a quarter of a second at 500 kbit/s.

The transport holds at most the message in progress. The rest waits as frames: there it is counted,
and the encoder adapts. Bytes in flight do not count, so a long fast link stays full.
"""

SEND_BUFFER_BYTES: Final = 128 * 1024
"""Limit of unsent bytes and bytes in flight together, for systems without `TCP_NOTSENT_LOWAT`:
10 Mbit/s at 100 ms.
"""

WRITER_LIMIT: Final = sys.maxsize
"""High water mark of aiohttp's WebSocket writer: never reached. Its writers share one waiter, so
cancelling one cancels all.
"""


def bound_unsent(transport: asyncio.Transport | None) -> None:
    """Make writers wait as soon as one message waits for the network."""
    if transport is None:
        return
    transport.set_write_buffer_limits(high=0)
    raw = transport.get_extra_info("socket")
    if raw is None:
        return
    with contextlib.suppress(OSError):  # not every socket is TCP
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        else:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


class Room:
    """Write barrier of one connection: writers wait until the transport's write buffer is empty.

    Do not await `drain()` directly: aiohttp shares one waiter between all callers, so cancelling
    one cancels all.
    """

    def __init__(
        self, transport: asyncio.Transport | None, writer: AbstractStreamWriter, patience_s: float
    ) -> None:
        self._transport = transport
        self._writer = writer
        self._patience_s = patience_s
        self._draining: asyncio.Task[None] | None = None
        """Ends when the buffer is empty, or with the connection."""

    async def wait(self) -> None:
        """Wait until everything written is sent.

        Raises ConnectionResetError when the client disconnected, or took no data for `patience_s`
        and is therefore disconnected.
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
            raise ConnectionResetError("the client disconnected")

    async def _drain(self) -> None:
        with contextlib.suppress(ConnectionError):  # each writer checks the transport itself
            await self._writer.drain()
