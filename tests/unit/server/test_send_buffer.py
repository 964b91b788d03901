"""A client that reads nothing is noticed before a second of video went into buffers."""

from __future__ import annotations

import asyncio
import socket

from orchestrator.server.send_buffer import bound_unsent

MESSAGE = bytes(12 * 1024)
"""As a frame of 256 pixels in base64."""


def taken_by_a_client_that_reads_nothing(*, bounded: bool) -> int:
    """Bytes that are gone before the transport says that it has to wait."""

    async def fill() -> int:
        connected: asyncio.Queue[asyncio.Transport] = asyncio.Queue()

        class Serving(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                connected.put_nowait(transport)

        loop = asyncio.get_running_loop()
        server = await loop.create_server(Serving, "127.0.0.1", 0)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            client.setblocking(False)
            await loop.sock_connect(client, server.sockets[0].getsockname())
            transport = await connected.get()
            if bounded:
                bound_unsent(transport)
            written = 0
            while transport.get_write_buffer_size() == 0:
                transport.write(MESSAGE)
                written += len(MESSAGE)
            transport.abort()
        server.close()
        await server.wait_closed()
        return written

    return asyncio.run(fill())


def test_a_few_messages_fill_a_bounded_connection_and_many_an_unbounded_one() -> None:
    bounded = taken_by_a_client_that_reads_nothing(bounded=True)
    assert bounded <= 12 * len(MESSAGE)
    assert bounded < taken_by_a_client_that_reads_nothing(bounded=False) / 2
