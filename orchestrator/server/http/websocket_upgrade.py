"""`GET /v1/ws`: the upgrade of a request to a WebSocket."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web

from orchestrator import protocol
from orchestrator.server.http.access import caller_of, check_origin
from orchestrator.server.http.context import CONFIG, SERVICE, SWITCHBOARD
from orchestrator.server.send_buffer import WRITER_LIMIT, bound_unsent
from orchestrator.server.websocket import Connection

logger = logging.getLogger(__name__)

HEARTBEAT_S: Final = 20.0
"""WebSocket pings; a client that does not answer is gone."""


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
    """The WebSocket that was asked for; below it little waits, and waiting for that is left to the
    connection.
    """
    # Compression would cost up to a hundred times the send itself, for data that is compressed
    # already.
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
