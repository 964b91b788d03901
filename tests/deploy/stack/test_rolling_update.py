"""Every orchestrator is stopped and started again while clients speak turn after turn: no turn ends
with an error.
"""

from __future__ import annotations

import asyncio

from compose_stack import TOKEN, Stack
from ws_client import syllables

from orchestrator.client import connect

CLIENTS = 8
TURN_S = 1.0
FRAMES = 20


async def test_turns_end_and_the_next_ones_are_spoken_elsewhere(stack: Stack) -> None:
    is_over = asyncio.Event()
    async with asyncio.TaskGroup() as clients:
        speaking = [clients.create_task(speak_on(stack.url, is_over)) for _ in range(CLIENTS)]
        for container in stack.containers("orchestrator"):
            await asyncio.to_thread(stack.engine.docker, "stop", "--time", "330", container["Id"])
            (left,) = (
                each for each in stack.containers("orchestrator") if each["Id"] == container["Id"]
            )
            assert left["State"]["ExitCode"] == 0
            await asyncio.to_thread(stack.engine.docker, "start", container["Id"])
            await asyncio.to_thread(stack.up, "--no-recreate")
        is_over.set()
    assert all(client.result() > 1 for client in speaking), "each spoke before and after"


async def speak_on(url: str, is_over: asyncio.Event) -> int:
    """Turns that one client spoke, each whole and without a warning."""
    turns = 0
    async with connect(url, TOKEN) as client:
        session = client.session(user="demo", face="demo", size=128)
        while not is_over.is_set():
            turn = session.say(syllables(TURN_S))
            assert [frame.sequence_number async for frame in turn.frames()] == list(range(FRAMES))
            assert not turn.warnings
            turns += 1
    return turns
