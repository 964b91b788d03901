"""A connection of several sessions whose network stands still for a while: what one of them does
then costs the others nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
from ws_client import WsClient, connect, syllables

OUTBOX_FRAMES = 8
FINE = {"quality": 100}
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


async def test_a_session_that_ends_while_the_network_stands_still_silences_no_other(
    serving: Callable[..., Any],
) -> None:
    names = ["ends", "stays", "stays-too"]
    async with serving(outbox_frames=OUTBOX_FRAMES) as url, connect(url, PATIENCE_S) as client:
        for name in names:
            await client.speak(
                syllables(4.0), session=name, end=False, modelPreference="static", config=FINE
            )
        network(client).pause_reading()
        await until_waiting(
            url, 2 * OUTBOX_FRAMES + 1
        )  # of each session at least one, behind one that is being written
        await client.send({"type": "end_session", "sessionId": "ends"})
        await until_sessions(url, 2)
        network(client).resume_reading()
        for name in names[1:]:
            await client.send({"type": "end_utterance", "sessionId": name})
        for _ in names[1:]:
            await client.until("response_end")
    for name in names[1:]:
        assert (
            client.frames(session=name)[-1]["audioTimestamp"]
            - client.frames(session=name)[0]["audioTimestamp"]
            >= 3000
        )
    assert {
        message["sessionId"] for message in client.received if message["type"] == "response_end"
    } == set(names[1:])


async def test_every_session_of_a_connection_that_fell_silent_goes_on_over_another(
    service_url: str,
) -> None:
    names = [f"session-{number}" for number in range(6)]
    async with (
        connect(service_url, PATIENCE_S) as silent,
        connect(service_url, PATIENCE_S) as after,
    ):
        for name in names:
            await silent.speak(syllables(2.0), session=name, end=False, modelPreference="static")
        for name in names:  # they all speak
            while not silent.frames(session=name):
                await silent.next()
        # From here on nothing is read from the first socket, pings included: its owner moved to
        # another network.
        for name in reversed(names):
            await after.send({"type": "resume_session", "sessionId": name, "userId": "demo"})
        for name in names:
            await after.send({"type": "end_utterance", "sessionId": name})
        for _ in names:
            await after.until("response_end")
    assert [message for message in after.received if message["type"] == "error"] == []
    for name in names:
        kinds = [message["type"] for message in after.received if message["sessionId"] == name]
        assert (kinds[0], kinds[-1]) == ("session_resumed", "response_end")
