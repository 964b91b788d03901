"""Connection to the service, shared by all sessions of a client and reopened when it is lost."""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from types import TracebackType
from typing import Any, Final

import aiohttp

from orchestrator import protocol
from orchestrator.client.arguments import video_config
from orchestrator.client.errors import ConnectionFailedError, LipSyncClientError
from orchestrator.client.handshake import http_session, open_websocket, websocket_url
from orchestrator.client.messages import ErrorMessage, decode
from orchestrator.client.retries import Retries
from orchestrator.client.session import ClientSession
from orchestrator.client.transport import AttachedSession

logger = logging.getLogger(__name__)

STABLE_S: Final = 5.0
"""A connection that lasted this long resets the retries, even if it carried no message."""

UNAVAILABLE: Final = 503
"""HTTP status of an instance that shuts down, and of a gateway that has none ready."""

FIRST_GIVE_UP_S: Final = 10.0
"""Longest time to retry the first connection while the service is unavailable."""


def connect(
    url: str, token: str | None = None, *, binary: bool = True, give_up_s: float = 60.0
) -> LipSyncClient:
    """A client of the service at `url`, to be used with `async with`.

    `url` is `http://host:port` or the address of the service's `/v1/ws`. `token` authorizes the
    client for one user's faces and sessions. `binary` sends audio and pictures as bytes instead of
    base64. A lost connection is retried for `give_up_s` seconds.
    """
    return LipSyncClient(url, token, binary=binary, give_up_s=give_up_s)


class LipSyncClient:
    """One connection to the service with any number of sessions."""

    def __init__(self, url: str, token: str | None, *, binary: bool, give_up_s: float) -> None:
        self._url = websocket_url(url)
        self.route = secrets.token_hex(16)
        """Routing key, by which a gateway sends all connections of this client to one instance."""
        self._headers = {protocol.ROUTE_HEADER: self.route} | (
            {"Authorization": f"Bearer {token}"} if token else {}
        )
        self._is_binary = binary
        self._give_up_s = give_up_s
        self._retries = Retries(give_up_s)
        self._sessions: dict[str, AttachedSession] = {}
        """Sessions that have sent a turn and were not closed, by id."""
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._listener: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[bool]] = set()
        self._is_lost = False
        self._failure: LipSyncClientError | None = ConnectionFailedError(
            f"{self._url}: not connected; use the client with `async with`"
        )
        self.reconnections = 0
        """Times that a lost connection was reopened."""

    @property
    def is_binary(self) -> bool:
        """True when audio and pictures travel as bytes, false when they travel as base64."""
        return self._is_binary

    @property
    def failure(self) -> LipSyncClientError | None:
        """Reason why the connection is gone for good; None while it is open or is reopened."""
        return self._failure

    async def __aenter__(self) -> LipSyncClient:
        self._http = http_session(self._headers)
        try:
            self._socket = await self._open_first()
        except BaseException:
            await self._http.close()
            raise
        self._failure, self._is_lost = None, False
        self._listener = asyncio.create_task(self._run(), name="connection")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        closed = ConnectionFailedError(f"{self._url}: the client was closed")
        self._failure = self._failure or closed
        for session in list(self._sessions.values()):
            await session.close()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        if self._socket is not None:
            await self._socket.close()
        if self._http is not None:
            await self._http.close()

    def session(
        self,
        *,
        user: str,
        face: str | None = None,
        model: str | None = None,
        fps: float = 20.0,
        size: int = 256,
        format: str = "jpeg",
        quality: int = 80,
        session_id: str | None = None,
    ) -> ClientSession:
        """A session with a face of `user`; None is the active face.

        `fps` is 15 to 25, `size` 128, 256 or 512 pixels, `format` jpeg or h264. Raises
        InvalidMessageError for another format.
        """
        config = video_config(fps, size, format, quality)
        return ClientSession(self, session_id or uuid.uuid4().hex, user, face, model, config)

    def attach(self, session: AttachedSession) -> None:
        """Route the service's messages to this session.

        While the connection is lost, the session's `connection_lost` is called at once.
        """
        if session.id not in self._sessions and self._is_lost:
            session.connection_lost()
        self._sessions[session.id] = session

    def detach(self, session: AttachedSession) -> None:
        """Stop routing messages to this session."""
        self._sessions.pop(session.id, None)

    async def send(self, message: str | bytes) -> bool:
        """Send a message now; return False while there is no connection."""
        if self._socket is None or self._socket.closed:
            return False
        # a task of its own: on a slow network aiohttp shares one future between all senders, so
        # cancelling one of them would cancel all
        sending = asyncio.create_task(_sent(self._socket, message), name="send")
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return await asyncio.shield(sending)

    async def reconnect(self) -> None:
        """Close this connection and open another one; sessions are resumed on it."""
        if self._socket is not None:
            await self._socket.close(code=aiohttp.WSCloseCode.TRY_AGAIN_LATER)

    async def _open_first(self) -> aiohttp.ClientWebSocketResponse:
        """Open the first connection; retry only while the service reports itself unavailable."""
        retries = Retries(min(FIRST_GIVE_UP_S, self._give_up_s))
        while True:
            try:
                return await self._open()
            except ConnectionFailedError as error:
                if error.status != UNAVAILABLE or not await retries.wait():
                    raise

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        assert self._http is not None
        socket = await open_websocket(self._http, self._url, self.route, binary=self._is_binary)
        self._is_binary = socket.protocol == protocol.BINARY_SUBPROTOCOL
        return socket

    async def _run(self) -> None:
        """Receive and reconnect for the client's lifetime; on failure end all turns."""
        try:
            await self._receive_and_reconnect()
        except LipSyncClientError as error:
            self._failure = error
        except Exception as error:
            logger.exception("connection to %s failed; its sessions end", self._url)
            self._failure = ConnectionFailedError(f"{self._url}: {error}")
        for session in list(self._sessions.values()):
            await session.abandon(self._failure)

    async def _receive_and_reconnect(self) -> None:
        loop = asyncio.get_running_loop()
        while self._socket is not None:
            opened_s = loop.time()
            await self._receive(self._socket)
            if loop.time() - opened_s > STABLE_S:
                self._retries.succeeded()
            self._is_lost = True
            for session in self._sessions.values():
                session.connection_lost()
                if self._socket.close_code == protocol.RESTART_CODE:
                    session.server_draining()
            self._socket = await self._reopen()
            self._is_lost = False
            self.reconnections += 1
            for session in list(self._sessions.values()):
                await session.connection_restored()

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for raw in socket:
            if raw.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                await self._dispatch(raw.data)

    async def _dispatch(self, data: Any) -> None:
        message = decode(data)
        if message is None:
            return
        if not isinstance(message, ErrorMessage):
            self._retries.succeeded()
        session = self._sessions.get(message.session_id or "")
        if session is not None:
            await session.receive(message)
        elif isinstance(message, ErrorMessage):
            logger.warning(
                "the service refused a message: %s: %s", message.error_code, message.error_message
            )

    async def _reopen(self) -> aiohttp.ClientWebSocketResponse:
        error = ConnectionFailedError(
            f"{self._url}: no instance resumed the sessions within {self._give_up_s:g} s"
        )
        while await self._retries.wait():
            try:
                return await self._open()
            except ConnectionFailedError as failed:
                error = failed
        raise error


async def _sent(socket: aiohttp.ClientWebSocketResponse, message: str | bytes) -> bool:
    try:
        await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
    except ConnectionError:
        return False
    return True
