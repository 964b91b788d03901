"""The connection to the service: opened, kept, opened again when it was lost, and shared by all
sessions of a client.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from types import TracebackType
from typing import Any, Final

import aiohttp
from yarl import URL

from orchestrator import protocol
from orchestrator.client.errors import (
    ConnectionFailedError,
    LipSyncClientError,
    refused_here,
    service_error,
)
from orchestrator.client.messages import Refused, read
from orchestrator.client.retries import Retries
from orchestrator.client.session import ClientSession
from orchestrator.client.transport import Carried
from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.types import VideoFormat

logger = logging.getLogger(__name__)

HEARTBEAT_S: Final = 10.0
"""Pings; a service that does not answer is gone."""

CONNECT_TIMEOUT_S: Final = 10.0


STABLE_S: Final = 5.0
"""A connection that lived for so long was good, though nothing was said on it."""

UNAVAILABLE: Final = 503
"""HTTP status of an instance that shuts down, and of a gateway that has none ready."""

FIRST_GIVE_UP_S: Final = 10.0
"""Longest wait for the first connection where the service is unavailable."""


def connect(
    url: str, token: str | None = None, *, binary: bool = True, give_up_s: float = 60.0
) -> LipSyncClient:
    """A client of the service at `url` (`http://host:port`, or the address of its `/v1/ws`), to be
    used with `async with`.

    `token` opens one user's faces and sessions; `binary` spares base64; a lost connection is tried
    again for `give_up_s`.
    """
    return LipSyncClient(url, token, binary=binary, give_up_s=give_up_s)


class LipSyncClient:
    """One connection with any number of sessions."""

    def __init__(self, url: str, token: str | None, *, binary: bool, give_up_s: float) -> None:
        self._url = url if url.rstrip("/").endswith("/v1/ws") else f"{url.rstrip('/')}/v1/ws"
        self.route = secrets.token_hex(16)
        """Routing key: a gateway that goes by it sends every connection of this client to the same
        instance.
        """
        self._headers = {protocol.ROUTE_HEADER: self.route} | (
            {"Authorization": f"Bearer {token}"} if token else {}
        )
        self._is_binary = binary
        self._give_up_s = give_up_s
        self._retries = Retries(give_up_s)
        self._sessions: dict[str, Carried] = {}
        """Those that said something and were not closed."""
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[bool]] = set()
        self._is_away = False
        self._failure: LipSyncClientError | None = ConnectionFailedError(
            f"{self._url}: not connected; use the client with `async with`"
        )
        self.reconnections = 0
        """How often a lost connection was opened again."""

    @property
    def is_binary(self) -> bool:
        """Whether audio and pictures travel as bytes."""
        return self._is_binary

    @property
    def failure(self) -> LipSyncClientError | None:
        """Why there is no connection and will be none; None while there is one, or may be again."""
        return self._failure

    async def __aenter__(self) -> LipSyncClient:
        # a gateway's cookie counts where the service has no name but an address, too
        jar, patience = (
            aiohttp.CookieJar(unsafe=True),
            aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S),
        )
        self._http = aiohttp.ClientSession(headers=self._headers, cookie_jar=jar, timeout=patience)
        try:
            self._socket = await self._open_first()
        except BaseException:
            await self._http.close()
            raise
        self._failure, self._is_away = None, False
        self._keeper = asyncio.create_task(self._keep(), name="connection")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._failure = self._failure or ConnectionFailedError(
            f"{self._url}: the client was closed"
        )
        for session in list(self._sessions.values()):
            await session.close()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
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
        """A conversation with `user`'s face; `size` 128, 256 or 512 pixels, `fps` 15 to 25,
        `format` jpeg or h264.

        Raises InvalidMessageError for another format.
        """
        if format not in list(VideoFormat):
            raise refused_here("format", f"is {format!r}; send one of {', '.join(VideoFormat)}")
        config = protocol.WireConfig(
            fps, protocol.WireResolution(size, size), VideoFormat(format), quality
        )
        return ClientSession(self, session_id or uuid.uuid4().hex, user, face, model, config)

    def carry(self, session: Carried) -> None:
        """Pass on to this session what the service says to it; one whose connection is away at the
        moment is told so.
        """
        if session.id not in self._sessions and self._is_away:
            session.connection_lost()
        self._sessions[session.id] = session

    def drop(self, session: Carried) -> None:
        """Pass nothing more on to it."""
        self._sessions.pop(session.id, None)

    async def send(self, message: str | bytes) -> bool:
        """Send now; False when there is no connection at the moment."""
        if self._socket is None or self._socket.closed:
            return False
        # a task of its own: aiohttp's senders wait for one future when the network is slow, and one
        # that is cancelled cancels it for all
        sending = asyncio.create_task(_sent(self._socket, message), name="send")
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return await asyncio.shield(sending)

    async def call_again(self) -> None:
        """Give this connection up for another one; no session ends by that."""
        if self._socket is not None:
            await self._socket.close(code=aiohttp.WSCloseCode.TRY_AGAIN_LATER)

    async def _open_first(self) -> aiohttp.ClientWebSocketResponse:
        """The first connection. What is unavailable for a moment is called again, what is not there
        is told at once.
        """
        retries = Retries(min(FIRST_GIVE_UP_S, self._give_up_s))
        while True:
            try:
                return await self._open()
            except ConnectionFailedError as error:
                if error.status != UNAVAILABLE or not await retries.wait():
                    raise

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        assert self._http is not None
        protocols = (protocol.BINARY_SUBPROTOCOL,) if self._is_binary else ()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                address = URL(self._url).update_query({protocol.ROUTE_QUERY: self.route})
                socket = await self._http.ws_connect(
                    address, max_msg_size=0, protocols=protocols, heartbeat=HEARTBEAT_S
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403):
                raise service_error(
                    LipSyncErrorCode.UNAUTHORIZED,
                    f"{self._url}: {error.message}",
                    recoverable=False,
                ) from None
            raise ConnectionFailedError(
                f"{self._url}: {error.status} {error.message}", status=error.status
            ) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConnectionFailedError(f"{self._url}: {error}") from error
        self._is_binary = socket.protocol == protocol.BINARY_SUBPROTOCOL
        return socket

    async def _keep(self) -> None:
        """Listen for the client's whole life; when that ends before its time, no turn waits for
        what will not come.
        """
        try:
            await self._listen_for_ever()
        except LipSyncClientError as error:
            self._failure = error
        except Exception as error:
            logger.exception("the connection to %s cannot go on", self._url)
            self._failure = ConnectionFailedError(f"{self._url}: {error}")
        for session in list(self._sessions.values()):
            await session.abandon(self._failure)

    async def _listen_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while self._socket is not None:
            opened_s = loop.time()
            await self._listen(self._socket)
            if loop.time() - opened_s > STABLE_S:
                self._retries.succeeded()
            self._is_away = True
            for session in self._sessions.values():
                session.connection_lost()
                if self._socket.close_code == protocol.RESTART_CODE:
                    session.sent_away()
            self._socket = await self._reopen()
            self._is_away = False
            self.reconnections += 1
            for session in list(self._sessions.values()):
                await session.connection_back()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for raw in socket:
            if raw.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                await self._take(raw.data)

    async def _take(self, data: Any) -> None:
        message = read(data)
        if message is None:
            return
        if not isinstance(message, Refused):
            self._retries.succeeded()
        session = self._sessions.get(message.session_id or "")
        if session is not None:
            await session.take(message)
        elif isinstance(message, Refused):
            logger.warning(
                "the service refused a message: %s: %s", message.error_code, message.error_message
            )

    async def _reopen(self) -> aiohttp.ClientWebSocketResponse:
        error = ConnectionFailedError(
            f"{self._url}: no instance of the service goes on with the sessions"
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
