"""Bounds what waits unsent below a WebSocket, so that a slow client is noticed by its frames, and soon."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

UNSENT_BYTES: Final = 16 * 1024
"""What may wait for the network in the kernel, a quarter of a second of 500 kbit/s; the transport keeps the message it is at, no more.
The rest waits as frames, where it is counted and the coder can give way. What is under way does not count: a long fast link stays full."""

WHERE_UNKNOWN_BYTES: Final = 128 * 1024
"""What is under way and unsent together, where the system cannot tell them apart: 10 Mbit/s at 100 ms."""


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
