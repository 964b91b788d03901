"""The supervisor mends what breaks: backend processes, the server, a hang, and its own death."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from project_root import ROOT
from watched_server import until

from orchestrator.core.backoff import Backoff
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.embedded import background_loader, server_life
from orchestrator.inference.embedded.health import TritonState
from orchestrator.inference.embedded.run_lock import SHM
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.inference.triton.status_codes import DEAD_INSTANCE

StubsOf = Callable[[int, str], list[int]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(make_repository: Callable[[], Path]) -> AsyncIterator[EmbeddedTriton]:
    async with EmbeddedTriton(make_repository(), ("audio2motion", "tpsm")) as supervised:
        yield supervised


@pytest_asyncio.fixture(loop_scope="session")
async def speaking(server: EmbeddedTriton) -> AsyncIterator[TritonInference]:
    """A client that was answered before the fault and so has an open channel and registered
    memory.
    """
    async with TritonInference([server], read_repository(server._path)) as inference:
        await until(lambda: answered(inference))
        yield inference


def probe() -> dict[str, NDArray[Any]]:
    return {"motion": np.zeros((1, 11), np.float32), "face": np.zeros((1, 32), np.uint8)}


async def answered(inference: TritonInference) -> bool:
    """Whether both models say that they are ready and keep their word."""
    if not (await inference.ready("audio2motion") and await inference.ready("tpsm")):
        return False
    try:
        await inference.infer(
            "audio2motion",
            {"mel": np.zeros((1, 88, 80), np.float32)},
            deadline=time.monotonic() + 1,
        )
        await inference.infer("tpsm", probe(), deadline=time.monotonic() + 1)
    except LipSyncError:
        return False
    return True


async def healed(server: EmbeddedTriton, speaking: TritonInference) -> None:
    await until(lambda: server.state is TritonState.RUNNING)
    await until(lambda: answered(speaking))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("model", ["audio2motion", "tpsm"])
async def test_a_backend_process_that_is_gone_is_replaced(
    server: EmbeddedTriton,
    speaking: TritonInference,
    stubs_of: StubsOf,
    model: str,
    number: signal.Signals,
) -> None:
    victims = stubs_of(server.health().pid, model)
    os.kill(victims[0], number)
    await until(lambda: not server.has_ready(model))
    await healed(server, speaking)
    await until(lambda: not set(victims) & set(stubs_of(server.health().pid, model)))


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM],
    ids=["killed", "stopped", "told to end"],
)
async def test_a_server_that_is_gone_is_replaced_on_the_same_address(
    server: EmbeddedTriton, speaking: TritonInference, stubs_of: StubsOf, number: signal.Signals
) -> None:
    pid, url = server.health().pid, server.url
    orphans = stubs_of(pid, "tpsm") + stubs_of(pid, "audio2motion")
    os.kill(pid, number)
    await until(lambda: not server.has_ready("tpsm"))
    with pytest.raises(InferenceError) as raised:
        await speaking.infer("tpsm", probe(), deadline=time.monotonic() + 0.2)
    assert raised.value.code in (LipSyncErrorCode.MODEL_LOAD_FAILED, LipSyncErrorCode.TIMEOUT)
    await healed(server, speaking)
    assert server.health().pid != pid
    assert server.url == url
    await until(lambda: not any(alive(orphan) for orphan in orphans))


async def test_a_dead_instance_is_named_in_the_health_report(
    server: EmbeddedTriton, speaking: TritonInference, stubs_of: StubsOf
) -> None:
    os.kill(stubs_of(server.health().pid, "tpsm")[0], signal.SIGKILL)
    await until(lambda: not server.has_ready("tpsm"))
    assert (
        "backend process" in server.health().models["tpsm"]
        or "starting again" in server.health().models["tpsm"]
    )
    await healed(server, speaking)
    assert server.health().models == {"audio2motion": "", "tpsm": ""}


async def test_a_model_that_cannot_be_loaded_leaves_the_others_alone(
    make_repository: Callable[[], Path],
) -> None:
    path = make_repository()
    (path / "audio2motion" / "1" / "model.onnx").write_bytes(b"no network")
    async with EmbeddedTriton(path, ("audio2motion", "painter", "absent")) as server:
        assert server.has_ready("painter")
        assert not server.has_ready("audio2motion")
        assert "model.onnx" in server.health().models["audio2motion"]
        assert "not in the model repository" in server.health().models["absent"]


async def test_a_model_that_is_exported_later_is_loaded_then(
    make_repository: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (server_life, background_loader):
        monkeypatch.setattr(module, "RETRIES", Backoff(0.1, 60.0))
    path = make_repository()
    network = path / "audio2motion" / "1" / "model.onnx"
    network.rename(path / "kept.onnx")
    async with EmbeddedTriton(path, ("audio2motion", "painter")) as server:
        assert "python -m export audio2motion" in server.health().models["audio2motion"]
        (path / "kept.onnx").rename(network)
        await until(lambda: server.has_ready("audio2motion"))
        assert server.restarts == 0


async def test_a_complaint_about_a_sound_model_changes_nothing(
    server: EmbeddedTriton, speaking: TritonInference
) -> None:
    before = server.health()
    late = InferenceError(
        LipSyncErrorCode.MODEL_LOAD_FAILED,
        f"tpsm: Stub process 'tpsm_0_0' {DEAD_INSTANCE}.",
        model="tpsm",
    )
    for _ in range(3):
        server.report_failure("tpsm", late)
        assert await answered(speaking)
    assert server.health() == before


async def test_nothing_is_left_after_the_end(make_repository: Callable[[], Path]) -> None:
    async with EmbeddedTriton(make_repository(), ("painter",)) as server:
        processes = [
            psutil.Process(server.health().pid),
            *psutil.Process(server.health().pid).children(),
        ]
        prefix = server._run_lock.prefix
        assert list(SHM.glob(f"{prefix}*"))
    await until(lambda: not any(alive(process.pid) for process in processes))
    assert not list(SHM.glob(f"{prefix}*"))


PARENT = """
import asyncio, sys
from pathlib import Path
from orchestrator.inference.embedded.supervisor import EmbeddedTriton

async def main():
    async with EmbeddedTriton(Path(sys.argv[1]), ("painter",)) as server:
        print(server.health().pid, server._run_lock.prefix, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_killed_orchestrator_takes_the_server_with_it_and_the_next_one_cleans_up(
    make_repository: Callable[[], Path],
) -> None:
    root = str(ROOT)
    command = [sys.executable, "-c", PARENT, str(make_repository())]
    pipe = asyncio.subprocess.PIPE
    parent = await asyncio.create_subprocess_exec(
        *command, stdout=pipe, env=os.environ | {"PYTHONPATH": root}
    )
    assert parent.stdout is not None
    pid, prefix = (await parent.stdout.readline()).decode().split()
    family = [int(pid), *(child.pid for child in psutil.Process(int(pid)).children())]
    assert len(family) == 2
    parent.kill()
    await parent.wait()
    await until(lambda: not any(alive(each) for each in family))
    async with EmbeddedTriton(make_repository(), ("painter",)):
        assert not list(SHM.glob(f"{prefix}*"))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
