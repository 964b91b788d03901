"""The HTTP side: every path, with the probes, the metrics, the socket and the page."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from orchestrator import protocol
from orchestrator.core.paths import PAGE
from orchestrator.models import ADAPTERS
from orchestrator.server.http import schemas as answers
from orchestrator.server.http.access import caller_of, check_origin
from orchestrator.server.http.context import CONFIG, SERVICE, START, answer
from orchestrator.server.http.faces import delete_face, enrol, get_face, list_faces, preview
from orchestrator.server.http.media import benchmark, render
from orchestrator.server.http.models import health, model_performance, models
from orchestrator.server.http.openapi import document
from orchestrator.server.send_buffer import WRITER_LIMIT, bound_unsent
from orchestrator.server.websocket import Connection
from orchestrator.sessions.directory import SWITCHBOARD

logger = logging.getLogger(__name__)

HEARTBEAT_S: Final = 20.0
"""WebSocket pings; a client that does not answer is gone."""


async def healthz(request: web.Request) -> web.Response:
    """Alive."""
    return answer(answers.Alive("alive"))


async def readyz(request: web.Request) -> web.Response:
    """200 while new sessions are accepted, with whatever model; 503 at the start and while the instance drains."""
    app, model = request.app, request.app[CONFIG].default_model
    degraded = [] if await app[SERVICE].pipeline.choice.available(model) else [model.value]
    if app[SWITCHBOARD].drain.is_on:
        return answer(answers.Ready(False, "DRAINING", degraded), 503)
    if not app[START].is_over(is_whole=not degraded):
        return answer(answers.Ready(False, "STARTING", degraded), 503)
    return answer(answers.Ready(True, degraded=degraded))


async def metrics(request: web.Request) -> web.Response:
    """Prometheus text format."""
    service = request.app[SERVICE]
    for model in ADAPTERS:
        service.metrics.model_available.labels(model.value).set(await service.pipeline.choice.available(model))
    return web.Response(body=service.metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def openapi(request: web.Request) -> web.Response:
    """What this page of paths is, for programs."""
    return web.Response(body=msgspec.json.encode(document()), content_type="application/json")


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """`GET /v1/ws`."""
    app = request.app
    check_origin(request, app[CONFIG].allowed_origins)
    protocol.check_route(protocol.ROUTE_QUERY, request.query.get(protocol.ROUTE_QUERY))
    protocol.check_route(protocol.ROUTE_HEADER, request.headers.get(protocol.ROUTE_HEADER))
    switchboard = app[SWITCHBOARD]
    if not switchboard.has_parked:  # else it may come to resume a session
        switchboard.drain.check()
    socket = await open_socket(request)
    connection = Connection(socket, request, app[SERVICE], switchboard, caller_of(request))
    with switchboard.drain.carrying(connection):
        try:
            await connection.run()
        except ConnectionError:
            logger.info("a client went away")
    return socket


async def open_socket(request: web.Request) -> web.WebSocketResponse:
    """The WebSocket that was asked for; below it little waits, and waiting for that is left to the connection."""
    # Compression would cost up to a hundred times the send itself, for data that is compressed already.
    socket = web.WebSocketResponse(
        max_msg_size=protocol.MAX_MESSAGE_BYTES,
        compress=False,
        heartbeat=HEARTBEAT_S,
        autoping=False,  # the connection wants to see them
        protocols=(protocol.BINARY_SUBPROTOCOL,),
        writer_limit=WRITER_LIMIT,
    )
    await socket.prepare(request)
    bound_unsent(request.transport)
    return socket


async def page(request: web.Request) -> web.FileResponse:
    """The demo page."""
    return web.FileResponse(PAGE / "index.html")


async def page_file(request: web.Request) -> web.FileResponse:
    """One of the page's files."""
    return web.FileResponse(_file_of_page(request.match_info["file"]))


def _file_of_page(name: str) -> Path:
    try:
        path = (PAGE / name).resolve()
        found = path.is_relative_to(PAGE) and path.is_file()
    except (OSError, ValueError):  # a name that no file can have: too long, with a null
        found = False
    if not found:
        raise web.HTTPNotFound
    return path


def _long(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The same handler; an instance that shuts down refuses the request, or waits for it where it began before."""

    async def waited_for(request: web.Request) -> web.StreamResponse:
        with request.app[SWITCHBOARD].drain.work():
            return await handler(request)

    return waited_for


def add_routes(app: web.Application) -> None:
    """Every path of the service."""
    user = "/v1/users/{user}/face-models"
    app.add_routes(
        [
            web.get("/", page),
            web.get("/demo/{file:.+}", page_file),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/v1/openapi.json", openapi),
            web.get("/v1/ws", websocket),
            web.get("/v1/health", health),
            web.get("/v1/models", models),
            web.get("/v1/models/{name}/performance", model_performance),
            web.post("/v1/benchmark", _long(benchmark)),
            web.post("/v1/render", _long(render)),
            web.get(user, list_faces),
            web.post(user, _long(enrol)),
            web.get(user + "/{face}", get_face),
            web.delete(user + "/{face}", delete_face),
            web.get(user + "/{face}/preview.jpg", preview),
        ]
    )
