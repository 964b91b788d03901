"""Triton is hurt in mid-word: no frame is missing, the client is told, and `tpsm` comes back within
the turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from serving import IN_TIME, serve, stubs_of, triton_of
from ws_client import CHUNK_S, WsClient, connect, syllables

HURT_AFTER_FRAMES = 40

STEADY_FRAMES = 20
"""Of the model that is back, one after the other."""

GIVE_UP_S = 300.0
"""It is to take five seconds; how long it takes a machine that has other things to do says nothing.
"""


def kill_a_stub(service: psutil.Process) -> None:
    """One renderer process dies."""
    stubs_of(service, "tpsm")[0].send_signal(signal.SIGKILL)


def kill_every_stub(service: psutil.Process) -> None:
    """All renderer processes die."""
    for stub in stubs_of(service, "tpsm"):
        with contextlib.suppress(psutil.NoSuchProcess):  # killed already, since another one was
            stub.send_signal(signal.SIGKILL)


def kill_the_server(service: psutil.Process) -> None:
    """`tritonserver` dies."""
    triton_of(service).send_signal(signal.SIGKILL)


def stop_the_server(service: psutil.Process) -> None:
    """`tritonserver` hangs."""
    triton_of(service).send_signal(signal.SIGSTOP)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process]]:
    with serve(tmp_path_factory.mktemp("storage"), settings=IN_TIME) as service:
        yield service


@pytest.mark.parametrize("hurt", [kill_a_stub, kill_every_stub, kill_the_server, stop_the_server])
async def test_the_stream_goes_on_and_the_model_comes_back(
    running: tuple[str, psutil.Process], hurt: Callable[[psutil.Process], None]
) -> None:
    url, service = running
    async with connect(url) as client, asyncio.timeout(GIVE_UP_S):
        over = asyncio.Event()
        speaking = asyncio.create_task(speak_until(over, client))
        await until_drawn(
            client,
            lambda models: models.count("tpsm") >= HURT_AFTER_FRAMES and models[-1] == "tpsm",
        )
        hurt(service)
        if hurt is kill_a_stub:  # which the other one may make up for
            drawn = len(client.frames())
            await until_drawn(client, lambda models: len(models) >= drawn + 3 * STEADY_FRAMES)
        else:
            await client.until("model_switched", **{"from": "tpsm", "to": "static"})
            await client.until("model_switched", **{"from": "static", "to": "tpsm"})
        await until_drawn(
            client, lambda models: models[-STEADY_FRAMES:] == STEADY_FRAMES * ["tpsm"]
        )
        over.set()
        chunks = await speaking
        end = await client.until("response_end")
    frames = client.frames()
    assert [frame["sequenceNumber"] for frame in frames] == list(range(2 * chunks))
    switches = [message for message in client.received if message["type"] == "model_switched"]
    assert ("static" in {frame["model"] for frame in frames}) == bool(switches)
    assert end["metrics"]["modelSwitches"] == len(switches)


async def speak_until(over: asyncio.Event, client: WsClient) -> int:
    """One turn in real time until it may end; how many chunks of 100 ms it had."""
    loop, audio, step = asyncio.get_running_loop(), syllables(1.0), round(CHUNK_S * 16_000) * 2
    began_s, number = loop.time(), 0
    while not over.is_set():
        start = number * step % len(audio)
        await client.say(audio[start : start + step], number)
        number += 1
        await asyncio.sleep(max(0.0, began_s + number * CHUNK_S - loop.time()))
    await client.send({"type": "end_utterance", "sessionId": "session-1"})
    return number


async def until_drawn(client: WsClient, is_so: Callable[[list[str]], bool]) -> None:
    """Read on until it is so of the models that drew the frames."""
    while not is_so([frame["model"] for frame in client.frames()]):
        await client.next()


@pytest.mark.parametrize(
    ("hurt", "told"),
    [(kill_every_stub, "tpsm is ready again"), (kill_the_server, "tritonserver serves again: ")],
)
def test_the_log_tells_the_fault_and_its_end(
    tmp_path: Path, hurt: Callable[[psutil.Process], None], told: str
) -> None:
    with serve(tmp_path) as (_, service):
        hurt(service)
        log = tmp_path / "serve.log"
        end = time.monotonic() + GIVE_UP_S
        while told not in log.read_text() and time.monotonic() < end:
            time.sleep(0.05)
    lines = [line for line in log.read_text().splitlines() if "inference.embedded" in line]
    assert [line.split()[2] for line in lines] == ["WARNING", "INFO"], lines
    assert told in lines[1]


async def test_no_server_is_left_behind(tmp_path: Path) -> None:
    with serve(tmp_path) as (_, service):
        children = service.children(recursive=True)
        assert any(child.name() == "tritonserver" for child in children)
    _, alive = psutil.wait_procs(children, timeout=120)
    assert alive == []
