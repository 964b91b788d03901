"""Triton dies under the whole stack: sessions go on and begin with the resting face, an operator is
told, and it comes back.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compose_stack import LOOK_S, TOKEN, Stack, compose_stack, free_port, until
from container_engine import Engine
from ws_client import syllables

from orchestrator.client import ClientSession, LipSyncClient, connect

ALERT = "LipsyncDefaultModelAway"
JOBS = {"gateway": [1], "orchestrator": [1] * 2, "triton": [1], "prometheus": [1]}
"""`up` of each target."""

RECOVERY_S = 5.0
"""From Triton's own word that it is ready (docs/triton.md)."""

SPOKEN_S = 6.0


@pytest.fixture(scope="module")
def watched(images: Engine, patient: Path) -> Iterator[tuple[Stack, str, str]]:
    """The stack with Prometheus and Alertmanager, and the addresses of both."""
    ports = {"PROMETHEUS_PORT": free_port(), "ALERTMANAGER_PORT": free_port()}
    settings = {"LIPSYNC_AUTH_TOKENS": f"{TOKEN}=demo", "LIPSYNC_ENV_FILE": str(patient)} | {
        key: str(port) for key, port in ports.items()
    }
    with compose_stack(images, settings=settings) as stack:
        stack.up("gateway", "prometheus", "alertmanager")
        prometheus, alertmanager = (f"http://127.0.0.1:{port}" for port in ports.values())
        yield stack, prometheus, alertmanager


def read(url: str) -> Any:
    """The JSON at an address."""
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def up(prometheus: str) -> dict[str, list[int]]:
    """The targets of each job, 1 for those that answer."""
    found = defaultdict[str, list[int]](list)
    for each in read(f"{prometheus}/api/v1/query?query=up")["data"]["result"]:
        found[each["metric"]["job"]].append(int(each["value"][1]))
    return dict(found)


def is_told(alertmanager: str) -> bool:
    """The alert is active in Alertmanager."""
    return any(
        each["labels"]["alertname"] == ALERT
        for each in read(f"{alertmanager}/api/v2/alerts?active=true")
    )


async def speak(url: str, seconds: float, began: asyncio.Event | None = None) -> set[str]:
    """Who drew a turn of a new session; no number is missing."""
    async with connect(url, TOKEN) as client:
        models, numbers = set[str](), list[int]()
        async for frame in resting_face(client).say(syllables(seconds)).frames():
            models.add(frame.model)
            numbers.append(frame.sequence_number)
            if began is not None:
                began.set()
    assert numbers == list(range(round(seconds * 20)))
    return models


def resting_face(client: LipSyncClient) -> ClientSession:
    """A session that has not begun."""
    return client.session(user="demo", face="demo", size=128)


async def back_s(url: str) -> float:
    """When the default model first drew a new session; one begins after the other."""
    while True:
        async with connect(url, TOKEN) as client:
            if (drawn_s := await first_drawn_s(resting_face(client))) is not None:
                return drawn_s


async def back_in_s(session: ClientSession) -> float:
    """When the default model first drew a session that speaks turn after turn."""
    while True:
        if (drawn_s := await first_drawn_s(session)) is not None:
            return drawn_s


async def first_drawn_s(session: ClientSession) -> float | None:
    """When the default model first drew a short turn; None where `static` drew all of it."""
    turn = session.say(syllables(1.0))
    times_s = [(time.monotonic(), frame.model) async for frame in turn.frames()]
    return next((drawn_s for drawn_s, model in times_s if model == "tpsm"), None)


def ready_s(address: str) -> float:
    """When a Triton first says that it is ready; known `LOOK_S` late at most."""
    until(lambda: is_ready(address))
    return time.monotonic()


def is_ready(address: str) -> bool:
    """Triton's own word."""
    try:
        with urllib.request.urlopen(f"http://{address}:8000/v2/health/ready", timeout=1.0):
            return True
    except OSError:
        return False


def test_prometheus_finds_every_target(watched: tuple[Stack, str, str]) -> None:
    _, prometheus, _ = watched
    until(lambda: up(prometheus) == JOBS)


def test_prometheus_finds_the_targets_that_are_added_and_forgets_those_that_leave(
    watched: tuple[Stack, str, str],
) -> None:
    stack, prometheus, _ = watched
    stack.up("--scale", "orchestrator=3", "--scale", "triton=3", "--no-recreate")
    began_s = time.monotonic()
    until(lambda: up(prometheus) == JOBS | {"orchestrator": [1] * 3, "triton": [1] * 3})
    print(
        "up == 1 for three orchestrators and three Tritons "
        f"{time.monotonic() - began_s:.0f} s after they were healthy"
    )
    stack.up("--scale", "orchestrator=2", "--scale", "triton=1", "--no-recreate")
    until(lambda: up(prometheus) == JOBS)


async def test_a_triton_that_is_killed_costs_no_frame_and_no_session(
    watched: tuple[Stack, str, str],
) -> None:
    stack, _, alertmanager = watched
    (triton,) = stack.containers("triton")
    began = asyncio.Event()
    live = asyncio.create_task(speak(stack.url, SPOKEN_S, began))
    await began.wait()
    killed_s = time.monotonic()
    await asyncio.to_thread(stack.engine.docker, "kill", triton["Id"])
    assert await live == {"tpsm", "static"}
    assert await speak(stack.url, 1.0) == {"static"}
    await asyncio.to_thread(until, lambda: is_told(alertmanager))
    print(
        f"{ALERT} reached Alertmanager {time.monotonic() - killed_s:.0f} s after Triton was killed"
    )
    assert await speak(stack.url, 1.0) == {"static"}


async def test_the_default_model_draws_again_soon_after_triton_is_back(
    watched: tuple[Stack, str, str],
) -> None:
    stack, _, _ = watched
    (triton,) = stack.containers("triton")
    async with connect(stack.url, TOKEN) as client, asyncio.TaskGroup() as meanwhile:
        session = resting_face(client)
        assert await first_drawn_s(session) is None
        drawn = [
            meanwhile.create_task(back_s(stack.url)),
            meanwhile.create_task(back_in_s(session)),
        ]
        await asyncio.to_thread(stack.engine.docker, "start", triton["Id"])
        ready = await asyncio.to_thread(ready_s, stack.address(triton))
    new_s, live_s = (task.result() - ready + LOOK_S for task in drawn)
    print(
        f"the default model drew a new session {new_s:.1f} s after Triton was ready, "
        f"and a live one {live_s:.1f} s after"
    )
    assert max(new_s, live_s) < RECOVERY_S
    await asyncio.to_thread(stack.up, "--no-recreate", "triton")
    assert await speak(stack.url, SPOKEN_S) == {"tpsm"}, "it stays"
