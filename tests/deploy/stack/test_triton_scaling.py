"""Several Tritons behind one name: the orchestrators take new ones without a restart, and let go of
those that leave.
"""

from __future__ import annotations

import asyncio

import pytest
from compose_stack import TOKEN, Stack
from ws_client import syllables

from orchestrator.client import connect

SESSIONS = 6
SPOKEN_S = 10.0
PATIENCE_S = 120.0
REQUESTS = 'nv_inference_request_success{model="tpsm_speech"'


async def greet(url: str, seconds: float) -> set[str]:
    """Who drew a turn of a new session; no number is missing."""
    async with connect(url, TOKEN) as client:
        frames = [
            frame
            async for frame in client.session(user="demo", face="demo", size=128)
            .say(syllables(seconds))
            .frames()
        ]
    assert [frame.sequence_number for frame in frames] == list(range(round(seconds * 20)))
    return {frame.model for frame in frames}


async def speak(url: str) -> list[asyncio.Task[set[str]]]:
    """Sessions at once; the tasks are done."""
    async with asyncio.TaskGroup() as sessions:
        return [sessions.create_task(greet(url, SPOKEN_S)) for _ in range(SESSIONS)]


async def test_three_tritons_share_the_requests_and_two_may_leave_in_mid_speech(
    stack: Stack,
) -> None:
    await asyncio.to_thread(stack.up, "--scale", "triton=3", "--no-recreate")
    tritons = stack.containers("triton")
    async with asyncio.timeout(PATIENCE_S):
        while not all(stack.metric(each, REQUESTS) > 0 for each in tritons):
            await greet(stack.url, 1.0)
    before = [stack.metric(each, REQUESTS) for each in tritons]
    await speak(stack.url)
    served = [
        stack.metric(each, REQUESTS) - count for each, count in zip(tritons, before, strict=True)
    ]
    assert [count / sum(served) for count in served] == [pytest.approx(1 / 3, abs=0.1)] * 3
    leaving = asyncio.create_task(
        asyncio.to_thread(stack.up, "--scale", "triton=1", "--no-recreate")
    )
    await speak(stack.url)
    await leaving
    assert await greet(stack.url, 1.0) == {"tpsm"}
