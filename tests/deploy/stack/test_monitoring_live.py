"""Prometheus and Alertmanager over a service that speaks: every query of the dashboard has an
answer, and a killed Triton is told.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from deploy_tools import tool
from monitoring_files import metrics_in, panel_queries
from monitoring_stack import Monitored, gateway, monitored
from serving import PATIENT, serve
from watched_server import until
from ws_client import connect, syllables

from orchestrator.cli.bench.load_client import Load, run_load
from orchestrator.core.errors import LipSyncError
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.inference.embedded.environment import find_server
from orchestrator.inference.embedded.supervisor import EmbeddedTriton

BUILT_IN = ("audio2motion", "tpsm", "tpsm_speech")
GPU = frozenset(
    {
        "nv_gpu_utilization",
        "nv_gpu_memory_used_bytes",
        "nv_gpu_memory_total_bytes",
        "nv_gpu_power_usage",
    }
)
"""Has no series on a machine without a GPU."""

OF_TRITON = frozenset({"LipsyncDefaultModelAway", "LipsyncTritonDown"})

SPEECH = np.frombuffer(syllables(4.0), np.int16).astype(np.float32) / 32768


@dataclass(frozen=True)
class Stack:
    """Everything that runs, and how to take its Triton away."""

    url: str
    triton: EmbeddedTriton
    prometheus: Monitored


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    for name in ("prometheus", "prometheus-alertmanager", "haproxy"):
        tool(name)
    try:
        find_server()
    except LipSyncError as error:
        pytest.skip(error.message)


@asynccontextmanager
async def running_stack(folder: Path, triton: EmbeddedTriton) -> AsyncIterator[Stack]:
    settings = {"LIPSYNC_TRITON_URL": triton.url, "LIPSYNC_TRITON_METRICS_URL": triton.metrics_url}
    service = serve(
        folder, settings=PATIENT | settings | {"LIPSYNC_PERFORMANCE_MONITORING_INTERVAL": "2"}
    )
    url, _ = await asyncio.to_thread(service.__enter__)
    orchestrator = url.removeprefix("http://")
    try:
        with gateway(folder, orchestrator) as (public, gateway_metrics):
            targets = {
                "gateway": gateway_metrics,
                "orchestrator": orchestrator,
                "triton": triton.metrics_url.split("/")[2],
            }
            async with monitored(folder, targets) as prometheus:
                yield Stack(public, triton, prometheus)
    finally:
        await asyncio.to_thread(service.__exit__, None, None, None)


@asynccontextmanager
async def load(url: str) -> AsyncIterator[None]:
    """Meanwhile four clients speak, turn after turn, as those of `lipsync bench` do, and a fifth
    makes trouble.
    """

    async def speak() -> None:
        while True:
            await run_load(
                Load(url, sessions=4, seconds=4.0, size=128, fps=20.0, video_format="jpeg"), SPEECH
            )

    async with (
        asyncio.TaskGroup() as clients
    ):  # one that fails fails the test, instead of leaving it to wait for frames
        tasks = [clients.create_task(speak()), clients.create_task(trouble(url))]
        yield
        for task in tasks:
            task.cancel()


async def trouble(url: str) -> None:
    """Sessions with an interrupted turn, a report of the client, and a message that is refused."""
    while True:
        await one_trouble(url)


async def one_trouble(url: str) -> None:
    async with connect(url) as client:
        await client.speak(syllables(4.0), session="hasty", end=False)
        await client.until("response_video")
        await client.send({"type": "client_report", "sessionId": "hasty", "avOffsetMs": -8})
        await client.send({"type": "interruption", "sessionId": "hasty"})
        await client.send({"type": "client_report", "sessionId": "hasty", "avOffsetMs": "late"})
        await client.until("error")


async def killed_once(stack: Stack) -> None:
    """Triton's process ends while sessions speak, and its supervisor starts another one."""
    restarts, pid = stack.triton.restarts, stack.triton.health().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: stack.triton.restarts > restarts and stack.triton.has_ready("tpsm_speech"))


def answerable() -> list[tuple[str, str]]:
    """The dashboard's queries, but those of GPUs."""
    return [(title, query) for title, query in panel_queries() if not metrics_in(query) & GPU]


async def unanswered(stack: Stack) -> list[tuple[str, str]]:
    """Queries that return no number now."""
    return [
        (title, query) for title, query in answerable() if not await stack.prometheus.query(query)
    ]


async def test_every_query_of_the_dashboard_has_an_answer_and_a_killed_triton_reaches_alertmanager(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as until_killed, AsyncExitStack() as rest:
        triton = await until_killed.enter_async_context(EmbeddedTriton(MODEL_REPOSITORY, BUILT_IN))
        stack = await rest.enter_async_context(running_stack(tmp_path, triton))
        async with load(stack.url):
            await until(lambda: stack.prometheus.query("lipsync_frames_total > 0"))
            await killed_once(stack)
            try:
                await until(lambda: _all_answered(stack), within_s=180.0)
            except TimeoutError:
                pytest.fail(f"no series: {await unanswered(stack)}")
        assert await stack.prometheus.query('up{job!=""} == 0') == []
        await until(lambda: _is_quiet(stack))

        await until_killed.aclose()
        began_s = time.monotonic()
        await until(lambda: _is_told(stack, OF_TRITON), within_s=240.0)
        print(f"told {time.monotonic() - began_s:.0f} s after Triton's end")


async def _all_answered(stack: Stack) -> bool:
    return not await unanswered(stack)


async def _is_quiet(stack: Stack) -> bool:
    return not await stack.prometheus.alerts() & {
        "LipsyncDefaultModelAway",
        "LipsyncTritonDown",
        "LipsyncNoInstance",
        "LipsyncGatewayEmpty",
    }


async def _is_told(stack: Stack, names: set[str]) -> bool:
    return names <= await stack.prometheus.alerts()
