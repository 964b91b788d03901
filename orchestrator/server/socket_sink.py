"""Sending side of one WebSocket connection: `MessageSink` over an aiohttp socket."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from aiohttp import web

from orchestrator import protocol
from orchestrator.core.errors import LipSyncError
from orchestrator.core.logs import session_logged
from orchestrator.core.metrics import Metrics
from orchestrator.server.send_buffer import Room

logger = logging.getLogger(__name__)

ANSWER_S: Final = 1.0
"""A connection whose client does not answer a ping for this long is dead when another one asks for
its session.
"""


class SocketSink:
    """Sends messages; each send waits until the network has taken what was written."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        room: Room,
        metrics: Metrics,
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._room = room
        self._metrics = metrics
        self._heard = asyncio.Event()
        """Set whenever anything arrives from the client."""
        self._is_closing = False
        """True once the service closes the connection: nothing more is sent."""

    async def send(self, message: protocol.ServerMessage) -> None:
        """Send a message. Raises ConnectionError when the client is gone or reads nothing for too
        long, and once the service closes the connection.
        """
        if self._is_closing:
            raise ConnectionResetError("the connection is being closed")
        is_binary = self._socket.ws_protocol == protocol.BINARY_SUBPROTOCOL
        if is_binary and isinstance(message, protocol.ResponseVideo):
            await self._socket.send_bytes(protocol.dump_binary(message))
        else:
            await self._socket.send_str(protocol.dump(message))
        await self._room.wait()

    async def send_error(self, error: LipSyncError, session_id: str | None) -> None:
        """Send an error, count it and log it; the log does not repeat what the client sent."""
        self._metrics.count_error(error)
        is_clients = str(error) == error.message
        logged = error.details.get("field", "-") if is_clients else str(error)
        with session_logged(session_id or ""):
            logger.info("%s: %s", error.code.value, logged)
        await self.send(protocol.error_message(error, session_id))

    async def responds(self) -> bool:
        """True if anything arrives from the client after a ping."""
        self._heard.clear()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._socket.ping()
                await self._heard.wait()
        except (ConnectionError, TimeoutError):
            return False
        return not self._socket.closed

    def abort(self) -> None:
        """Cut the connection without a close frame, unless it is being closed in order."""
        if self._transport is not None and not self._is_closing:
            self._transport.abort()
