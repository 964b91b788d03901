"""An answer that has begun ends well or the connection is cut: no client finds a second answer
inside of the first, or holds one open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.server.http.context import CONFIG, SERVICE
from orchestrator.server.http.errors import errors_as_json
from orchestrator.server.http.render import send_file
from orchestrator.sessions.service import LipSyncService

MOVIE_BYTES = 256 * 2**20
"""More than any socket's buffers."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def asked(
    storage: Path, handler: Handler, **settings: float
) -> AsyncIterator[tuple[asyncio.StreamReader, LipSyncService]]:
    """What comes back of a request to `handler`; nothing is read beyond a few kilobytes until the
    test does.
    """
    app = web.Application(middlewares=[errors_as_json])
    app[CONFIG] = ServiceConfig(storage=storage, **settings)
    app[SERVICE] = LipSyncService(config=app[CONFIG])
    app.router.add_get("/", handler)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=4096)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            yield reader, app[SERVICE]
        finally:
            writer.close()


async def the_rest(reader: asyncio.StreamReader) -> bytes:
    """All until the service ends the connection."""
    parts = []
    async with asyncio.timeout(60.0):
        try:
            while part := await reader.read(2**20):
                parts.append(part)
        except ConnectionResetError:
            pass
    return b"".join(parts)


@pytest.mark.parametrize("too_long", ["send_timeout_s", "render_timeout_s"])
async def test_a_client_that_takes_nothing_of_a_movie_is_disconnected(
    tmp_path: Path, too_long: str
) -> None:
    movie, given_up = tmp_path / "movie.mp4", asyncio.Event()
    with movie.open("wb") as file:
        file.truncate(MOVIE_BYTES)

    async def send(request: web.Request) -> web.StreamResponse:
        try:
            return await send_file(request, movie)
        finally:
            given_up.set()

    async with asked(tmp_path, send, **{too_long: 0.5}) as (reader, _):
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"Content-Length: {MOVIE_BYTES}".encode() in head
        await given_up.wait()
        body = await the_rest(reader)
    assert len(body) < MOVIE_BYTES
    assert not body.strip(b"\0"), "nothing but the movie"


@pytest.mark.parametrize(
    "failure",
    [
        ZeroDivisionError("in the middle"),
        OSError("in the middle"),
        LipSyncError(LipSyncErrorCode.TIMEOUT, "in the middle"),
        web.HTTPNotFound(),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_what_fails_in_the_middle_of_an_answer_ends_it_there_and_stands_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        raise failure

    async with asked(tmp_path, half) as (reader, service):
        answer = await the_rest(reader)
    assert answer.count(b"HTTP/1.1") == 1
    assert b"half".startswith(answer.partition(b"\r\n\r\n")[2])
    assert "failed after its response had started" in caplog.text
    told = [
        line
        for line in service.metrics.render().splitlines()
        if line.startswith(b"lipsync_errors_total{")
    ]
    assert all(line.endswith(b" 0.0") for line in told), "nobody was told"
