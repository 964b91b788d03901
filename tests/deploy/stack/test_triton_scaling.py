"""Several Tritons behind one name: the orchestrators take new ones without a restart, and let go of those that leave."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest
from compose_stack import TOKEN, Stack
from ws_client import syllables

from orchestrator.client import connect

SESSIONS = 6
SPOKEN_S = 10.0
PATIENCE_S = 120.0
ORCHESTRATOR_PORT = 8080
REQUESTS = 'nv_inference_request_success{model="tpsm_speech"'
FALLBACKS = "lipsync_fallbacks_total{"
TIMED_OUT = 'code="TIMEOUT"'


async def greet(url: str, seconds: float) -> tuple[set[str], float]:
    """Who drew a turn of a new session, and the longest wait between two frames in seconds; no number is missing."""
    came_s, models, numbers = list[float](), set[str](), list[int]()
    async with connect(url, TOKEN) as client:
        async for frame in client.session(user="demo", face="demo", size=128).say(syllables(seconds)).frames():
            came_s.append(time.monotonic())
            models.add(frame.model)
            numbers.append(frame.sequence_number)
    assert numbers == list(range(round(seconds * 20)))
    return models, max(later - sooner for sooner, later in itertools.pairwise(came_s))


async def speak(url: str) -> list[tuple[set[str], float]]:
    """Sessions at once."""
    async with asyncio.TaskGroup() as sessions:
        spoken = [sessions.create_task(greet(url, SPOKEN_S)) for _ in range(SESSIONS)]
    return [each.result() for each in spoken]


def fallbacks(stack: Stack, label: str = "") -> float:
    """Of all orchestrators together, so far."""
    return sum(stack.metric(each, FALLBACKS, ORCHESTRATOR_PORT, label) for each in stack.containers("orchestrator"))


async def test_three_tritons_share_the_requests_and_two_may_leave_in_mid_speech(stack: Stack) -> None:
    await asyncio.to_thread(stack.up, "--scale", "triton=3", "--no-recreate")
    tritons = stack.containers("triton")
    async with asyncio.timeout(PATIENCE_S):
        while not all(stack.metric(each, REQUESTS) > 0 for each in tritons):
            await greet(stack.url, 1.0)
    before = [stack.metric(each, REQUESTS) for each in tritons]
    await speak(stack.url)
    served = [stack.metric(each, REQUESTS) - count for each, count in zip(tritons, before, strict=True)]
    shares = [count / sum(served) for count in served]
    print(f"shares of {sum(served):.0f} requests: {', '.join(f'{share:.3f}' for share in shares)}")
    assert shares == [pytest.approx(1 / 3, abs=0.1)] * 3
    fell_back, timed_out = fallbacks(stack), fallbacks(stack, TIMED_OUT)
    leaving = asyncio.create_task(asyncio.to_thread(stack.up, "--scale", "triton=1", "--no-recreate"))
    spoken = await speak(stack.url)
    await leaving
    fell_back, timed_out = fallbacks(stack) - fell_back, fallbacks(stack, TIMED_OUT) - timed_out
    print(
        f"while two left: {fell_back:.0f} fallbacks, {timed_out:.0f} by TIMEOUT, longest wait {max(wait_s for _, wait_s in spoken):.2f} s"
    )
    assert timed_out == 0, "a Triton that is stopped answers what it was asked"
    assert (await greet(stack.url, 1.0))[0] == {"tpsm"}


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EXPERIMENT"""
    file = tmp_path_factory.mktemp("settings") / "lipsync.env"
    file.write_text("LIPSYNC_CAPACITY_PROBE=false\n")
    return file
