"""One connection over a real socket whose client takes nothing for a while: who waits, who gives
up, and who notices.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator import protocol
from orchestrator.core.config import ServiceConfig
from orchestrator.core.metrics import Metrics
from orchestrator.server.auth import Caller
from orchestrator.server.http.websocket_upgrade import open_socket
from orchestrator.server.websocket import Connection
from orchestrator.sessions.directory import SessionDirectory

LARGE = 1024 * 1024
"""Bytes of a message that no socket takes at once when nobody reads at the other end."""

PATIENCE_S = 20.0


@dataclass
class Ends:
    """Both ends of one connection."""

    client: aiohttp.ClientWebSocketResponse
    connection: Connection
    transport: asyncio.Transport
    """The service's."""
    network: asyncio.Transport
    """The client's: it stands still while that reads nothing."""
    serving: asyncio.Task[None]

    async def write(self, number: int) -> asyncio.Task[None]:
        """A session's message, in a task as sessions have them, once it waits for the network."""
        message = protocol.Poster(f"session-{number}", "demo", bytes(LARGE), "jpeg", 256, 256)
        before = self.transport.get_write_buffer_size()
        writing = asyncio.create_task(self.connection.send(message))
        async with asyncio.timeout(PATIENCE_S):
            while self.transport.get_write_buffer_size() <= before:  # noqa: ASYNC110 - a transport tells nobody
                await asyncio.sleep(0.001)
        return writing

    async def sessions_read(self, count: int) -> list[str]:
        """Whose messages come next."""
        async with asyncio.timeout(PATIENCE_S):
            return [(await self.client.receive_json())["sessionId"] for _ in range(count)]


@asynccontextmanager
async def stalled(**settings: Any) -> AsyncIterator[Ends]:
    """A connection whose network stands still from the beginning."""
    config = ServiceConfig(**settings)
    service: Any = SimpleNamespace(instance="one", config=config, metrics=Metrics())
    service.sessions = SessionDirectory(service)
    made: asyncio.Queue[tuple[Connection, web.Request, asyncio.Task[None]]] = asyncio.Queue()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = await open_socket(request)
        connection = Connection(socket, request, service, Caller(None))
        serving = asyncio.create_task(connection.run())
        await made.put((connection, request, serving))
        await asyncio.wait([serving])
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as http,
        http.ws_connect(server.make_url("/"), max_msg_size=0) as client,
    ):
        connection, request, serving = await made.get()
        held = client._response.connection
        assert request.transport is not None and held is not None and held.transport is not None
        network = held.transport
        network.pause_reading()
        yield Ends(client, connection, request.transport, network, serving)
        network.resume_reading()


async def test_a_session_that_gives_up_on_a_stalled_network_takes_no_other_with_it() -> None:
    async with stalled() as ends:
        writing = [await ends.write(number) for number in range(3)]
        writing[0].cancel()
        await asyncio.wait([writing[0]])
        ends.network.resume_reading()
        assert await ends.sessions_read(3) == ["session-0", "session-1", "session-2"]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*writing[1:])
            await ends.connection.send(protocol.Poster("session-3", "demo", b"", "jpeg", 256, 256))
        assert await ends.sessions_read(1) == ["session-3"]


async def test_nor_does_a_ping_that_nothing_answers() -> None:
    async with stalled() as ends:
        writing = await ends.write(0)
        assert not await ends.connection.responds()
        ends.network.resume_reading()
        assert await ends.sessions_read(1) == ["session-0"]
        async with asyncio.timeout(PATIENCE_S):
            await writing


async def test_a_client_that_takes_nothing_for_too_long_is_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with stalled(send_timeout_s=0.2) as ends:
        writing = [await ends.write(number) for number in range(2)]
        async with asyncio.timeout(PATIENCE_S):
            told = await asyncio.gather(*writing, return_exceptions=True)
            await asyncio.wait([ends.serving])
        assert [type(error) for error in told] == [ConnectionResetError, ConnectionResetError]
        assert ends.transport.is_closing()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_client_that_pings_and_takes_no_answer_is_heard_no_more() -> None:
    async with stalled(send_timeout_s=1.0) as ends:
        (await ends.write(0)).cancel()
        await ends.client.ping()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([ends.serving])
        assert isinstance(ends.serving.exception(), ConnectionError)
