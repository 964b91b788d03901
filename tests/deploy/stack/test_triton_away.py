"""Triton dies under the whole stack: sessions go on and begin with the resting face, an operator is
told, and it comes back.
"""

from __future__ import annotations

import asyncio
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compose_stack import TOKEN, Stack, compose_stack, free_port, until
from container_engine import Engine
from deploy_tools import DEPLOY
from ws_client import syllables

from orchestrator.client import connect

ALERT = "LipsyncDefaultModelAway"
JOBS = {"gateway": 1, "orchestrator": 2, "triton": 1, "prometheus": 1}
SPOKEN_S = 6.0


@pytest.fixture(scope="module")
def watched(images: Engine, patient: Path) -> Iterator[tuple[Stack, str, str]]:
    """The stack with Prometheus and Alertmanager, and the addresses of both."""
    if not (DEPLOY / "prometheus" / "prometheus.yml").exists():
        pytest.skip("deploy/prometheus is not there")
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


def up(prometheus: str) -> dict[str, int]:
    """Targets that answer, by job."""
    query = urllib.parse.quote("sum by (job) (up)")
    found = read(f"{prometheus}/api/v1/query?query={query}")["data"]["result"]
    return {each["metric"]["job"]: int(each["value"][1]) for each in found}


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
        async for frame in (
            client.session(user="demo", face="demo", size=128).say(syllables(seconds)).frames()
        ):
            models.add(frame.model)
            numbers.append(frame.sequence_number)
            if began is not None:
                began.set()
    assert numbers == list(range(round(seconds * 20)))
    return models


def test_prometheus_finds_every_target(watched: tuple[Stack, str, str]) -> None:
    _, prometheus, _ = watched
    until(lambda: up(prometheus) == JOBS)


async def test_a_triton_that_is_killed_costs_no_frame_and_no_session(
    watched: tuple[Stack, str, str],
) -> None:
    stack, _, alertmanager = watched
    (triton,) = stack.containers("triton")
    began = asyncio.Event()
    live = asyncio.create_task(speak(stack.url, SPOKEN_S, began))
    await began.wait()
    await asyncio.to_thread(stack.engine.docker, "kill", triton["Id"])
    assert await live == {"tpsm", "static"}
    assert await speak(stack.url, 1.0) == {"static"}
    await asyncio.to_thread(until, lambda: is_told(alertmanager))
    assert await speak(stack.url, 1.0) == {"static"}
    await asyncio.to_thread(stack.engine.docker, "start", triton["Id"])
    await asyncio.to_thread(stack.up, "--no-recreate", "triton")
    while await speak(stack.url, 1.0) != {"tpsm"}:
        pass
