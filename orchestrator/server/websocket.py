"""One WebSocket connection: what arrives on it goes to the conversations it carries, what these say
leaves by it.
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
from orchestrator.core.token_bucket import Allowance
from orchestrator.core.types import Resolution
from orchestrator.pipeline.session_state import merged_config
from orchestrator.server.auth import Caller
from orchestrator.server.send_buffer import Room
from orchestrator.sessions.directory import Switchboard
from orchestrator.sessions.live_session import Conversation
from orchestrator.sessions.service import LipSyncService

logger = logging.getLogger(__name__)

ALLOWANCE_BURST_S: Final = 2.0
"""Seconds' worth of messages that may come at once, and no fewer than the inbox takes of the
shortest chunks.
"""

SHORTEST_CHUNK_MS: Final = 10.0

MESSAGE_BYTES: Final = 64 * 1024
"""A message counts once for each of these that it begins: far above 100 ms of any audio."""

BREATH_MESSAGES: Final = 16
"""After so many messages that waited already, everybody else has a turn: about a millisecond."""

PATIENCE_S: Final = 10.0
"""A client that sends more than is read, for so long, is told."""

MOST_CUT: Final = 64
"""Sessions of a connection that are remembered after their time was over in mid-turn."""

ANSWER_S: Final = 1.0
"""A connection whose client does not answer a ping for this long is dead when another one asks for
its session.
"""

FAREWELL_S: Final = 5.0
"""Time to take what is unsent and the close frame, for a client that is sent away; then it is cut,
so that none holds up the end.
"""

CLOSED_BY_CLIENT: Final = (0, 1000)
"""Codes of a close frame by which a client says that it is done: none, and normal closure."""

_TOO_MANY: Final = (
    "message: more messages than a connection may send; all will be read, but late: send chunks "
    "of 100 ms, in real time"
)


class Connection:
    """Speaks the wire of `docs/protocol.md` on one socket, which leaves pings and pongs to it."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        service: LipSyncService,
        switchboard: Switchboard,
        caller: Caller,
    ) -> None:
        self._socket = socket
        self._transport = request.transport
        self._room = Room(request.transport, request.writer, service.config.send_timeout_s)
        self._switchboard = switchboard
        self._metrics = service.metrics
        self._instance = service.instance
        self._config = service.config
        self._caller = caller
        per_s, inbox_ms = service.config.max_messages_per_s, service.config.inbox_ms
        self._allowance = Allowance(
            per_s, burst=max(ALLOWANCE_BURST_S * per_s, inbox_ms / SHORTEST_CHUNK_MS)
        )
        self._heard = asyncio.Event()
        self._read_since_breath = 0
        self._is_told_of_flood = False
        self._is_sent_away = False
        self._cut: dict[str, str] = {}
        """Sessions whose time was over in the middle of a turn, the oldest first, and that turn's
        id.
        """

    async def run(self) -> None:
        """Until the client goes away: its sessions end if it said so, and otherwise wait for it to
        come back.
        """
        closed = False
        try:
            closed = await self._receive()
        finally:
            await self._switchboard.lost(self, closed=closed or self._is_sent_away)

    def is_in_turn(self) -> bool:
        """True while one of its sessions has begun to answer a turn that is not over."""
        return self._switchboard.is_in_turn(self)

    def fall_silent(self) -> None:
        """Send nothing more: no other turn begins to be answered. Its sessions end with it."""
        self._is_sent_away = True

    async def send_away(self) -> None:
        """Close it, and say that the client may connect again at once: no session waits for it
        here. One that takes no data is cut.
        """
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._socket.close(
                    code=protocol.RESTART_CODE,
                    message=b"this instance is shutting down; connect again",
                )
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()

    async def _receive(self) -> bool:
        """Until the connection ends; whether the client closed it."""
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
        """Read no faster than a connection may send: what comes faster waits in its socket, and
        nobody else for it.
        """
        loop = asyncio.get_running_loop()
        wait_s = self._allowance.take(loop.time(), max(1.0, len(data) / MESSAGE_BYTES))
        waiting_s = self._allowance.waiting_s(loop.time())
        if waiting_s > PATIENCE_S and not self._is_told_of_flood:
            details = {"field": "message", "maxMessagesPerSecond": self._config.max_messages_per_s}
            await self.tell(
                LipSyncError(LipSyncErrorCode.BUFFER_OVERFLOW, _TOO_MANY, details=details), None
            )
        self._is_told_of_flood = waiting_s > PATIENCE_S
        self._read_since_breath += 1
        if wait_s > 0.0 or self._read_since_breath >= BREATH_MESSAGES:
            self._read_since_breath = 0
            await asyncio.sleep(wait_s)

    async def _answer(self, data: str | bytes) -> None:
        session_id: str | None = None
        try:
            message = self._read(data)
            session_id = message.session_id
            with session_logged(session_id):
                await self._handle(message)
        except LipSyncError as error:
            await self.tell(error, session_id or protocol.session_of(data))
        except ChannelClosedError:
            pass  # the session is ending, which its client is being told
        except ConnectionError:
            raise
        except Exception:  # the edge of one message: the connection carries other sessions too
            logger.exception("session %s: a message could not be handled", session_id)
            await self._give_up(session_id)

    async def _give_up(self, session_id: str | None) -> None:
        conversation = self._switchboard.on(self, session_id) if session_id is not None else None
        if conversation is not None:
            self._switchboard.end(conversation)
        await self.tell(unforeseen(), session_id)

    def _read(self, data: str | bytes) -> protocol.AudioRequest | protocol.ClientMessage:
        """A message that was checked; a chunk's sound is bytes by then."""
        began = time.perf_counter()
        message, payload = self._parse(data)
        read = (
            protocol.audio_request(message, payload)
            if isinstance(message, protocol.WireAudio)
            else message
        )
        self._metrics.observe_stage(
            "receive", "json" if isinstance(data, str) else "binary", time.perf_counter() - began
        )
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

    async def _handle(self, message: protocol.AudioRequest | protocol.ClientMessage) -> None:
        if isinstance(message, protocol.AudioRequest):
            await self._audio(message)
            return
        if isinstance(message, protocol.ResumeSession):
            await self._resume(message)
            return
        conversation = self._switchboard.on(self, message.session_id)
        if (
            isinstance(message, protocol.EndUtterance)
            and self._cut.pop(message.session_id, None) is not None
        ):
            return
        if conversation is None:
            why = (
                f"no session {message.session_id!r} on this connection; a lipsync_audio message "
                "opens one"
            )
            raise invalid_field("sessionId", why)
        if isinstance(message, protocol.EndUtterance):
            await conversation.end_utterance()
        elif isinstance(message, protocol.Interruption):
            await conversation.interrupt(message.turn_id)
        elif isinstance(message, protocol.SwitchModel):
            await conversation.live.prefer(message.model)
        elif isinstance(message, protocol.ClientReport):
            conversation.report(message)
        else:
            self._switchboard.end(conversation)

    async def _audio(self, request: protocol.AudioRequest) -> None:
        conversation = self._carried(request.session_id, request.user_id)
        if self._is_of_cut_turn(request, conversation):
            return
        conversation = conversation or await self._join(request)
        if not conversation.turns.chunk(request.turn_id, request.chunk.sequence_number):
            return
        if request.model_preference is not None:
            await conversation.live.prefer(request.model_preference)
        size = request.config.resolution
        conversation.config = merged_config(
            conversation.config,
            target_fps=request.config.target_fps,
            resolution=Resolution(size.width, size.height) if size else None,
            format=request.config.format,
            quality=request.config.quality,
            enable_interpolation=request.config.enable_interpolation,
        )
        await conversation.hear(request.chunk, request.face_model_id)

    async def _join(self, request: protocol.AudioRequest) -> Conversation:
        """Open the session; one whose connection was lost goes on instead, and a chunk numbered 0
        gives up its unfinished turn.
        """
        self._caller.check_time()
        conversation = self._switchboard.find(request.session_id, request.user_id)
        if conversation is None:
            return self._switchboard.open(request.session_id, request.user_id, self)
        await self._switchboard.resume(conversation, self)
        if request.chunk.sequence_number == 0 and conversation.turns.is_of_open_turn(
            request.turn_id
        ):
            await conversation.interrupt(conversation.turns.turn_id)
        return conversation

    async def _resume(self, message: protocol.ResumeSession) -> None:
        self._caller.check_time()
        conversation = self._carried(message.session_id, message.user_id) or self._switchboard.find(
            message.session_id, message.user_id
        )
        if conversation is None:
            why = (
                f"no session {message.session_id!r} waits to be resumed; a lipsync_audio message "
                "opens it anew"
            )
            details = {"field": "sessionId"} | self._absence(message.instance)
            raise LipSyncError(
                LipSyncErrorCode.INVALID_MESSAGE,
                f"sessionId: {why}",
                recoverable=False,
                details=details,
            )
        await self._switchboard.resume(conversation, self, message)

    def _absence(self, instance: str | None) -> dict[str, str]:
        """Why a session is not here, as far as its client says where it was opened."""
        if instance is None:
            return {}
        return {
            "reason": protocol.EXPIRED if instance == self._instance else protocol.OTHER_INSTANCE
        }

    def _carried(self, session_id: str, user_id: str) -> Conversation | None:
        """The user's session of that id on this connection; UNAUTHORIZED where the token or the id
        here is another user's.
        """
        self._caller.check(user_id)
        conversation = self._switchboard.on(self, session_id)
        if conversation is not None and conversation.session.user_id != user_id:
            message = f"userId: session {session_id!r} of this connection belongs to another user"
            raise LipSyncError(LipSyncErrorCode.UNAUTHORIZED, message, details={"field": "userId"})
        return conversation

    def cut(self, session_id: str, turn_id: str) -> None:
        """The session's time was over in the middle of this turn: the rest of its audio opens no
        other session.
        """
        self._cut[session_id] = turn_id
        if len(self._cut) > MOST_CUT:
            del self._cut[next(iter(self._cut))]

    def _is_of_cut_turn(
        self, request: protocol.AudioRequest, conversation: Conversation | None
    ) -> bool:
        """Whether a chunk is to be ignored, since its session's time was over in mid-turn; what
        begins while it still ends is cut too.
        """
        known = self._cut.get(request.session_id)
        if conversation is not None and conversation.is_over:
            self.cut(request.session_id, request.turn_id or known or "")
            return True
        if (
            known is not None
            and request.chunk.sequence_number > 0
            and request.turn_id in (None, known)
        ):
            return True
        self._cut.pop(request.session_id, None)
        return False

    async def tell(self, error: LipSyncError, session_id: str | None) -> None:
        """Send an error, and count it."""
        self._metrics.count_error(error)
        told = (
            error.details.get("field", "-") if str(error) == error.message else str(error)
        )  # a client's error may repeat what it sent
        with session_logged(session_id or ""):
            logger.info("%s: %s", error.code.value, told)
        await self.write(protocol.error_message(error, session_id))

    async def write(self, message: protocol.ServerMessage) -> None:
        """Raises ConnectionError when the client is gone, is sent away, or takes nothing for too
        long.
        """
        if self._is_sent_away:
            raise ConnectionResetError("the client is sent away")
        if (
            isinstance(message, protocol.ResponseVideo)
            and self._socket.ws_protocol == protocol.BINARY_SUBPROTOCOL
        ):
            await self._socket.send_bytes(protocol.dump_binary(message))
        else:
            await self._socket.send_str(protocol.dump(message))
        await self._room.wait()

    async def answers(self) -> bool:
        """Whether the client is there: anything arrives from it after a ping."""
        self._heard.clear()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._socket.ping()
                await self._heard.wait()
        except (ConnectionError, TimeoutError):
            return False
        return not self._socket.closed

    def hang_up(self) -> None:
        """Cut the connection, without a word; one that is being closed is closed in order."""
        if self._transport is not None and not self._is_sent_away:
            self._transport.abort()
