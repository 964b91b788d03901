"""Every orchestrator is stopped and started again while clients speak: turns end whole, new
sessions go elsewhere, it ends by itself.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
from compose_stack import TOKEN, Stack
from ws_client import syllables

from orchestrator.client import connect

CLIENTS = 8
TURN_S = 4.0
NEWCOMERS = 10
APART_S = 0.2
FPS = 20

DRAIN_S = 300.0
"""`LIPSYNC_DRAIN_S` of docker-compose.yml."""

ELSEWHERE_S = 2.0
"""From SIGTERM until nothing new is sent to the orchestrator; the gateway's health checks take 0.7
s at most.
"""

FIRST_FRAME_S = 1.0
"""Beyond that, on a busy machine."""

LOOK_S = 0.02


async def test_turns_end_and_the_next_ones_are_spoken_elsewhere(stack: Stack) -> None:
    is_over, all_speak = asyncio.Event(), asyncio.Barrier(CLIENTS + 1)
    async with asyncio.TaskGroup() as clients:
        speaking = [
            clients.create_task(speak_on(stack.url, is_over, all_speak)) for _ in range(CLIENTS)
        ]
        await all_speak.wait()
        for container in stack.containers("orchestrator"):
            await stop_and_start(stack, container)
        is_over.set()
    turns = [client.result() for client in speaking]
    print(f"{CLIENTS} clients spoke {sum(turns)} turns of {TURN_S:g} s, none with an error")
    assert min(turns) > 1, "each spoke before and after"


async def stop_and_start(stack: Stack, container: dict[str, Any]) -> None:
    """A rolling update's step, with sessions that begin meanwhile."""
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as meanwhile:
        stopping = meanwhile.create_task(stopped(stack, container))
        refusal = meanwhile.create_task(last_refusal_s(stack.url))
        begun = [
            meanwhile.create_task(begin(stack.url, APART_S * number)) for number in range(NEWCOMERS)
        ]
    waits_s = [task.result() for task in begun]
    print(
        f"the last request went to it after {refusal.result():.2f} s, it ended after "
        f"{stopping.result() - began_s:.1f} s"
    )
    print(
        f"first frames of sessions begun each {APART_S} s from SIGTERM on came after "
        f"{', '.join(f'{wait:.2f}' for wait in waits_s)} s"
    )
    assert refusal.result() < ELSEWHERE_S
    assert max(waits_s) < ELSEWHERE_S + FIRST_FRAME_S
    assert stopping.result() - began_s < DRAIN_S
    await asyncio.to_thread(stack.engine.docker, "start", container["Id"])
    await asyncio.to_thread(stack.up, "--no-recreate")


async def stopped(stack: Stack, container: dict[str, Any]) -> float:
    """Send SIGTERM; the time of the end, which comes with exit status 0."""
    await asyncio.to_thread(stack.engine.docker, "stop", "--time", "330", container["Id"])
    ended_s = time.monotonic()
    (left,) = (each for each in stack.containers("orchestrator") if each["Id"] == container["Id"])
    assert left["State"]["ExitCode"] == 0
    return ended_s


async def last_refusal_s(url: str) -> float:
    """Seconds from now to the last request that the gateway sent to an orchestrator that is not
    ready; requests go in turn.
    """
    began_s, last_s = time.monotonic(), 0.0
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        while (sent_s := time.monotonic() - began_s) < 2 * ELSEWHERE_S:
            async with http.get(f"{url}/readyz") as answer:
                last_s = last_s if answer.status == 200 else sent_s
            await asyncio.sleep(LOOK_S)
    return last_s


async def begin(url: str, after_s: float) -> float:
    """Seconds that a client which comes now, and is new, waits for the first frame of a whole turn."""
    await asyncio.sleep(after_s)
    began_s, first_s = time.monotonic(), list[float]()
    async with connect(url, TOKEN) as client:
        numbers = []
        async for frame in (
            client.session(user="demo", face="demo", size=128).say(syllables(0.5)).frames()
        ):
            first_s.append(time.monotonic() - began_s)
            numbers.append(frame.sequence_number)
    assert numbers == list(range(10))
    return first_s[0]


async def speak_on(url: str, is_over: asyncio.Event, all_speak: asyncio.Barrier) -> int:
    """Turns that one client spoke, each whole and without a warning; the first one waits for those
    of all others.
    """
    turns = 0
    async with connect(url, TOKEN) as client:
        session = client.session(user="demo", face="demo", size=128)
        while not is_over.is_set():
            turn, numbers = session.say(syllables(TURN_S)), list[int]()
            async for frame in turn.frames():
                numbers.append(frame.sequence_number)
                if not turns and len(numbers) == 1:
                    await all_speak.wait()
            assert numbers == list(range(round(TURN_S * FPS)))
            assert not turn.warnings
            turns += 1
    return turns
