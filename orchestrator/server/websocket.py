"""One WebSocket connection: decodes client messages, dispatches them to its sessions, and sends
their messages.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from aiohttp import WSMessage, WSMsgType, web

from orchestrator import protocol
from orchestrator.core.channel import ChannelClosedError
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode, invalid_field, unforeseen
from orchestrator.core.logs import session_logged
from orchestrator.server.auth import Caller
from orchestrator.server.read_limit import ReadLimit
from orchestrator.server.send_buffer import Room
from orchestrator.server.socket_sink import SocketSink
from orchestrator.sessions.cut_turns import CutTurns
from orchestrator.sessions.live_session import LiveSession
from orchestrator.sessions.service import LipSyncService

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 10.0
"""A client that exceeds the rate limit for so long is sent an error."""

FAREWELL_S: Final = 5.0
"""Time in which a client that is sent away must read what is unsent and the close frame. Then its
connection is cut, so that no client delays a graceful shutdown.
"""

CLOSED_BY_CLIENT: Final = (0, 1000)
"""Codes of a close frame by which a client ends its sessions: none, and normal closure."""


_FAREWELL: Final = b"this instance is shutting down; connect again"


class Connection(SocketSink):
    """Speaks the protocol of `docs/protocol.md` on one socket, pings and pongs included."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        service: LipSyncService,
        caller: Caller,
    ) -> None:
        """`request` is the one that was upgraded to `socket`."""
        room = Room(request.transport, request.writer, service.config.send_timeout_s)
        super().__init__(socket, request.transport, room, service.metrics)
        self._sessions = service.sessions
        self._instance = service.instance
        self._max_messages_per_s = service.config.max_messages_per_s
        self._caller = caller
        self._read_limit = ReadLimit(service.config)
        self._flood_reported = False
        self._cut_turns = CutTurns()

    async def run(self) -> None:
        """Run until the client is gone. Its sessions end if it closed the connection, and wait for
        it otherwise.
        """
        closed = False
        try:
            closed = await self._receive()
        finally:
            await self._sessions.lost(self, closed=closed or self._is_closing)

    # Receiving

    async def _receive(self) -> bool:
        """Handle messages until the connection ends; True if the client closed it."""
        while True:
            message: WSMessage = await self._socket.receive()
            self._heard.set()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await self._answer(message.data)
            elif message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
                await self._room.wait()
            elif message.type is not WSMsgType.PONG:
                return message.type is WSMsgType.CLOSE and message.data in CLOSED_BY_CLIENT
            await self._hold_back(message.data)

    async def _hold_back(self, data: str | bytes) -> None:
        """Apply the rate limit; a client that exceeds it for long is sent one error."""
        wait_s = self._read_limit.take(data)
        is_flood = self._read_limit.waiting_s() > PATIENCE_S
        if is_flood and not self._flood_reported:
            await self.send_error(_too_many(self._max_messages_per_s), None)
        self._flood_reported = is_flood
        await self._read_limit.pause(wait_s)

    async def _answer(self, data: str | bytes) -> None:
        """Handle one message; whatever fails concerns that message or its session only."""
        session_id: str | None = None
        try:
            message = self._read(data)
            session_id = message.session_id
            with session_logged(session_id):
                await self._dispatch(message)
        except LipSyncError as error:
            await self.send_error(error, session_id or protocol.session_of(data))
        except ChannelClosedError:
            pass  # the session is ending; its own task sends the reason
        except ConnectionError:
            raise
        except Exception:  # the edge of one message: the connection carries other sessions too
            logger.exception("session %s: a message could not be handled", session_id)
            await self._end_faulty(session_id)

    async def _end_faulty(self, session_id: str | None) -> None:
        live = self._sessions.on(self, session_id) if session_id is not None else None
        if live is not None:
            self._sessions.end(live)
        await self.send_error(unforeseen(), session_id)

    def _read(self, data: str | bytes) -> protocol.AudioRequest | protocol.ClientMessage:
        """Decode and validate a message; the audio of a chunk becomes bytes."""
        began_s = time.perf_counter()
        message, payload = self._parse(data)
        read = (
            protocol.audio_request(message, payload)
            if isinstance(message, protocol.WireAudio)
            else message
        )
        framing = "json" if isinstance(data, str) else "binary"
        self._metrics.observe_stage("receive", framing, time.perf_counter() - began_s)
        return read

    def _parse(self, data: str | bytes) -> tuple[protocol.ClientMessage, bytes | None]:
        if isinstance(data, str):
            return protocol.parse(data), None
        if self._socket.ws_protocol != protocol.BINARY_SUBPROTOCOL:
            raise invalid_field(
                "message",
                "is binary; send JSON as text, or ask for the subprotocol "
                f"{protocol.BINARY_SUBPROTOCOL}",
            )
        return protocol.parse_binary(data)

    # Dispatch

    async def _dispatch(self, message: protocol.AudioRequest | protocol.ClientMessage) -> None:
        if isinstance(message, protocol.AudioRequest):
            await self._dispatch_audio(message)
        elif isinstance(message, protocol.ResumeSession):
            await self._resume(message)
        elif isinstance(message, protocol.EndUtterance):
            if not self._cut_turns.end(message.session_id):
                await self._open(message.session_id).end_turn()
        elif isinstance(message, protocol.Interruption):
            await self._open(message.session_id).interrupt(message.turn_id)
        elif isinstance(message, protocol.SwitchModel):
            await self._open(message.session_id).prefer(message.model)
        elif isinstance(message, protocol.ClientReport):
            self._open(message.session_id).report(message)
        else:
            self._sessions.end(self._open(message.session_id))

    async def _dispatch_audio(self, request: protocol.AudioRequest) -> None:
        live = self._own(request.session_id, request.user_id)
        if self._cut_turns.covers(request, live):
            return
        if live is None:
            self._caller.check_time()
            live = await self._sessions.join(request, self)
        await live.receive(request)

    async def _resume(self, message: protocol.ResumeSession) -> None:
        self._caller.check_time()
        live = self._own(message.session_id, message.user_id)
        live = live or self._sessions.find(message.session_id, message.user_id)
        if live is None:
            raise self._not_resumable(message)
        await self._sessions.resume(live, self, message)

    def _not_resumable(self, message: protocol.ResumeSession) -> LipSyncError:
        """Error for a session that is not here; its reason follows from the instance that the
        client names.
        """
        details = {"field": "sessionId"}
        if message.instance is not None:
            is_own = message.instance == self._instance
            details["reason"] = protocol.EXPIRED if is_own else protocol.OTHER_INSTANCE
        return LipSyncError(
            LipSyncErrorCode.INVALID_MESSAGE,
            f"sessionId: no session {message.session_id!r} waits to be resumed; a lipsync_audio "
            "message opens it anew",
            recoverable=False,
            details=details,
        )

    def _open(self, session_id: str) -> LiveSession:
        """The session of that id on this connection; raises INVALID_MESSAGE without one."""
        live = self._sessions.on(self, session_id)
        if live is None:
            why = f"no session {session_id!r} on this connection; a lipsync_audio message opens one"
            raise invalid_field("sessionId", why)
        return live

    def _own(self, session_id: str, user_id: str) -> LiveSession | None:
        """The user's session of that id on this connection; UNAUTHORIZED where the token or the id
        is another user's.
        """
        self._caller.check(user_id)
        live = self._sessions.on(self, session_id)
        if live is not None and live.session.user_id != user_id:
            message = f"userId: session {session_id!r} of this connection belongs to another user"
            raise LipSyncError(LipSyncErrorCode.UNAUTHORIZED, message, details={"field": "userId"})
        return live

    # `MessageSink`, with `SocketSink`

    def cut_turn(self, session_id: str, turn_id: str) -> None:
        """Ignore the rest of this turn's audio: its session's time limit was reached."""
        self._cut_turns.add(session_id, turn_id)

    # Graceful shutdown: `drain.Line`

    def is_in_turn(self) -> bool:
        """True while one of its sessions answers a turn."""
        return self._sessions.is_in_turn(self)

    def fall_silent(self) -> None:
        """Send nothing more: no other turn begins to be answered. Its sessions end with it."""
        self._is_closing = True

    async def send_away(self) -> None:
        """Close the connection with the code by which the client connects again at once; cut it if
        the client reads nothing for `FAREWELL_S`.
        """
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._socket.close(code=protocol.RESTART_CODE, message=_FAREWELL)
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()


def _too_many(max_messages_per_s: float) -> LipSyncError:
    message = (
        "message: more messages than a connection may send; all will be read, but late: send "
        "chunks of 100 ms, in real time"
    )
    details = {"field": "message", "maxMessagesPerSecond": max_messages_per_s}
    return LipSyncError(LipSyncErrorCode.BUFFER_OVERFLOW, message, details=details)
