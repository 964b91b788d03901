"""`GET /v1/ws`: the upgrade of a request to a WebSocket."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web

from orchestrator import protocol
from orchestrator.server.http.access import caller_of, check_origin
from orchestrator.server.http.context import CONFIG, SERVICE
from orchestrator.server.send_buffer import WRITER_LIMIT, bound_unsent
from orchestrator.server.websocket import Connection

logger = logging.getLogger(__name__)

HEARTBEAT_S: Final = 20.0
"""Interval of WebSocket pings; a client that does not answer is gone."""


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """`GET /v1/ws`."""
    app = request.app
    check_origin(request, app[CONFIG].allowed_origins)
    protocol.check_route(protocol.ROUTE_QUERY, request.query.get(protocol.ROUTE_QUERY))
    protocol.check_route(protocol.ROUTE_HEADER, request.headers.get(protocol.ROUTE_HEADER))
    sessions = app[SERVICE].sessions
    if not sessions.has_parked:  # otherwise the client may resume a session
        sessions.drain.check()
    socket = await open_socket(request)
    connection = Connection(socket, request, app[SERVICE], caller_of(request))
    with sessions.drain.carrying(connection):
        try:
            await connection.run()
        except ConnectionError:
            logger.info("a client went away")
    return socket


async def open_socket(request: web.Request) -> web.WebSocketResponse:
    """Accept the upgrade. Little data is buffered below the socket, so that the connection notices
    a slow client: backpressure.
    """
    # Compression costs up to a hundred times the send itself, and the data is compressed already.
    socket = web.WebSocketResponse(
        max_msg_size=protocol.MAX_MESSAGE_BYTES,
        compress=False,
        heartbeat=HEARTBEAT_S,
        autoping=False,  # the connection answers pings itself
        protocols=(protocol.BINARY_SUBPROTOCOL,),
        writer_limit=WRITER_LIMIT,
    )
    await socket.prepare(request)
    bound_unsent(request.transport)
    return socket
