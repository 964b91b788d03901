"""A connection of several sessions whose network stands still for a while: what one of them does
then costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stalled_network import PATIENCE_S, network, until_sessions, until_waiting
from ws_client import connect, syllables

OUTBOX_FRAMES = 8
FINE = {"quality": 100}


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
