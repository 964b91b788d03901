"""Several Tritons behind one name: the orchestrators take new ones without a restart, and let go of
those that leave.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compose_stack import TOKEN, Stack
from ws_client import syllables

from orchestrator.client import connect

SESSIONS = 6
SPOKEN_S = 15.0
PATIENCE_S = 120.0
ORCHESTRATOR_PORT = 8080
REQUESTS = 'nv_inference_request_success{model="tpsm_speech"'
FALLBACKS = "lipsync_fallbacks_total{"
TIMED_OUT = 'code="TIMEOUT"'


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings with the deadline as it is shipped: a request that is lost with its server shows as
    TIMEOUT.
    """
    file = tmp_path_factory.mktemp("settings") / "lipsync.env"
    file.write_text("LIPSYNC_CAPACITY_PROBE=false\n")
    return file


@pytest.fixture
async def three(stack: Stack) -> list[dict[str, Any]]:
    """Three Tritons, each of which has answered."""
    await asyncio.to_thread(stack.up, "--scale", "triton=3", "--no-recreate")
    tritons = stack.containers("triton")
    async with asyncio.timeout(PATIENCE_S):
        while not all(stack.metric(each, REQUESTS) > 0 for each in tritons):
            await greet(stack.url, 1.0)
    return tritons


async def greet(
    url: str, seconds: float, began: asyncio.Event | None = None
) -> tuple[set[str], float]:
    """Who drew a turn of a new session, and the longest wait between two frames in seconds; no
    number is missing.
    """
    came_s, models, numbers = list[float](), set[str](), list[int]()
    async with connect(url, TOKEN) as client:
        async for frame in (
            client.session(user="demo", face="demo", size=128).say(syllables(seconds)).frames()
        ):
            came_s.append(time.monotonic())
            if began is not None:
                began.set()
            models.add(frame.model)
            numbers.append(frame.sequence_number)
    assert numbers == list(range(round(seconds * 20)))
    return models, max(later - sooner for sooner, later in itertools.pairwise(came_s))


async def speak(url: str, began: asyncio.Event | None = None) -> float:
    """Sessions at once; the longest wait for a frame in seconds."""
    async with asyncio.TaskGroup() as sessions:
        spoken = [sessions.create_task(greet(url, SPOKEN_S, began)) for _ in range(SESSIONS)]
    return max(each.result()[1] for each in spoken)


def fallbacks(stack: Stack, label: str = "") -> float:
    """Of all orchestrators together, so far."""
    return sum(
        stack.metric(each, FALLBACKS, ORCHESTRATOR_PORT, label)
        for each in stack.containers("orchestrator")
    )


def stop_two(stack: Stack, tritons: list[dict[str, Any]]) -> None:
    """As an operator does; Triton ends what it has begun."""
    stack.up("--scale", "triton=1", "--no-recreate")
    assert len(stack.containers("triton")) == len(tritons) - 2


def kill_two(stack: Stack, tritons: list[dict[str, Any]]) -> None:
    """At once, with what they work on."""
    stack.engine.docker("kill", *(each["Id"] for each in tritons[:2]))


async def test_three_tritons_share_the_requests(stack: Stack, three: list[dict[str, Any]]) -> None:
    before = [stack.metric(each, REQUESTS) for each in three]
    await speak(stack.url)
    served = [
        stack.metric(each, REQUESTS) - count for each, count in zip(three, before, strict=True)
    ]
    shares = [count / sum(served) for count in served]
    print(f"shares of {sum(served):.0f} requests: {', '.join(f'{share:.3f}' for share in shares)}")
    assert shares == [pytest.approx(1 / 3, abs=0.1)] * 3


@pytest.mark.parametrize("leave", [stop_two, kill_two])
async def test_two_may_leave_in_mid_speech(
    stack: Stack, three: list[dict[str, Any]], leave: Callable[[Stack, list[dict[str, Any]]], None]
) -> None:
    before, timed_out_before, began = fallbacks(stack), fallbacks(stack, TIMED_OUT), asyncio.Event()
    speaking = asyncio.create_task(speak(stack.url, began))
    await began.wait()
    await asyncio.to_thread(leave, stack, three)
    assert not speaking.done()
    wait_s = await speaking
    timed_out = fallbacks(stack, TIMED_OUT) - timed_out_before
    print(
        f"{fallbacks(stack) - before:.0f} fallbacks, {timed_out:.0f} of them TIMEOUT, "
        f"and {wait_s:.2f} s without a frame at most"
    )
    assert timed_out <= SESSIONS, "each had one request under way"
    async with asyncio.timeout(PATIENCE_S):
        while (await greet(stack.url, 1.0))[0] != {"tpsm"}:
            pass
