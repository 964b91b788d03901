"""Triton is hurt in mid-word: no frame is missing, the client is told, and `tpsm` comes back within the turn."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from serving import serve, stubs_of, triton_of
from ws_client import connect, syllables

TURN_S = 12.0
HURT_AFTER_FRAMES = 40


def kill_a_stub(service: psutil.Process) -> None:
    """One renderer process dies."""
    stubs_of(service, "tpsm")[0].send_signal(signal.SIGKILL)


def kill_every_stub(service: psutil.Process) -> None:
    """All renderer processes die."""
    for stub in stubs_of(service, "tpsm"):
        stub.send_signal(signal.SIGKILL)


def kill_the_server(service: psutil.Process) -> None:
    """`tritonserver` dies."""
    triton_of(service).send_signal(signal.SIGKILL)


def stop_the_server(service: psutil.Process) -> None:
    """`tritonserver` hangs."""
    triton_of(service).send_signal(signal.SIGSTOP)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process]]:
    with serve(tmp_path_factory.mktemp("storage")) as service:
        yield service


@pytest.mark.parametrize("hurt", [kill_a_stub, kill_every_stub, kill_the_server, stop_the_server])
async def test_the_stream_goes_on_and_the_model_comes_back(
    running: tuple[str, psutil.Process], hurt: Callable[[psutil.Process], None]
) -> None:
    url, service = running
    async with connect(url) as client:
        speaking = asyncio.create_task(client.speak(syllables(TURN_S), real_time=True))
        while len(client.frames()) < HURT_AFTER_FRAMES:
            await client.next()
        hurt(service)
        end = await client.until("response_end")
        await speaking
    frames = client.frames()
    assert [frame["sequenceNumber"] for frame in frames] == list(range(round(TURN_S * 20)))
    assert frames[0]["model"] == frames[-1]["model"] == "tpsm"
    switches = [(message["from"], message["to"]) for message in client.received if message["type"] == "model_switched"]
    used = [frame["model"] for frame in frames]
    assert ("static" in used) == bool(switches)
    if hurt is not kill_a_stub:
        assert switches[:1] == [("tpsm", "static")]
        assert switches[-1:] == [("static", "tpsm")]
    assert end["metrics"]["modelSwitches"] == len(switches)


@pytest.mark.parametrize(("hurt", "told"), [(kill_every_stub, "tpsm is ready again"), (kill_the_server, "tritonserver serves again: ")])
def test_the_log_tells_the_fault_and_its_end(tmp_path: Path, hurt: Callable[[psutil.Process], None], told: str) -> None:
    with serve(tmp_path) as (_, service):
        hurt(service)
        log = tmp_path / "serve.log"
        end = time.monotonic() + 20.0
        while told not in log.read_text() and time.monotonic() < end:
            time.sleep(0.05)
    lines = [line for line in log.read_text().splitlines() if "inference.embedded" in line]
    assert [line.split()[2] for line in lines] == ["WARNING", "INFO"], lines
    assert told in lines[1]


async def test_no_server_is_left_behind(tmp_path: Path) -> None:
    with serve(tmp_path) as (_, service):
        children = service.children(recursive=True)
        assert any(child.name() == "tritonserver" for child in children)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
