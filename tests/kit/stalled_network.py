"""A client whose network stands still, and what the service says of it from outside."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from ws_client import WsClient

PATIENCE_S = 100.0


def network(client: WsClient) -> Any:
    """The client's transport: while it reads nothing, its network stands still for the service."""
    connection = client.socket._response.connection
    assert connection is not None
    return connection.transport


async def asked(url: str, path: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{url}{path}") as answer:
        return await answer.text()


async def until_waiting(url: str, frames: int) -> None:
    """Until so many coded frames wait for their clients."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            (line,) = [
                line
                for line in (await asked(url, "/metrics")).splitlines()
                if line.startswith("lipsync_buffered_frames ")
            ]
            if float(line.split()[1]) >= frames:
                return
            await asyncio.sleep(0.05)


async def until_sessions(url: str, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while f'"activeSessions":{count},' not in (await asked(url, "/v1/health")):  # noqa: ASYNC110 - the service is asked from outside
            await asyncio.sleep(0.05)
