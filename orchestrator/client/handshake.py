"""WebSocket handshake with the service."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
from yarl import URL

from orchestrator import protocol
from orchestrator.client.errors import ConnectionFailedError, service_error
from orchestrator.core.errors import LipSyncErrorCode

HEARTBEAT_S: Final = 10.0
"""Interval of pings; a service that does not respond to them counts as gone."""

CONNECT_TIMEOUT_S: Final = 10.0

UNAUTHORIZED_STATUSES: Final = (401, 403)


def websocket_url(url: str) -> str:
    """The address of the service's `/v1/ws`, given that address or the service's own."""
    return url if url.rstrip("/").endswith("/v1/ws") else f"{url.rstrip('/')}/v1/ws"


def http_session(headers: dict[str, str]) -> aiohttp.ClientSession:
    """An HTTP session for the connections of one client."""
    return aiohttp.ClientSession(
        headers=headers,
        # keeps a gateway's cookie also where the service has an address instead of a host name
        cookie_jar=aiohttp.CookieJar(unsafe=True),
        timeout=aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S),
    )


async def open_websocket(
    http: aiohttp.ClientSession, url: str, route: str, *, binary: bool
) -> aiohttp.ClientWebSocketResponse:
    """Open a WebSocket; `binary` offers the binary subprotocol.

    Raises UnauthorizedError for a refused token, and ConnectionFailedError, with the HTTP status
    where there was a response, for everything else.
    """
    protocols = (protocol.BINARY_SUBPROTOCOL,) if binary else ()
    address = URL(url).update_query({protocol.ROUTE_QUERY: route})
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await http.ws_connect(
                address, max_msg_size=0, protocols=protocols, heartbeat=HEARTBEAT_S
            )
    except aiohttp.WSServerHandshakeError as error:
        if error.status in UNAUTHORIZED_STATUSES:
            raise service_error(
                LipSyncErrorCode.UNAUTHORIZED, f"{url}: {error.message}", recoverable=False
            ) from None
        raise ConnectionFailedError(
            f"{url}: {error.status} {error.message}", status=error.status
        ) from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise ConnectionFailedError(f"{url}: {error}") from error
