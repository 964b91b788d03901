"""Public networks beside the built-in model: loaded behind it, one by one, and nothing that befalls
them befalls it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from tiny_models import LABOUR, ROWS, add_labour, add_rows
from watched_server import until

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.embedded import healing
from orchestrator.inference.embedded.health import TritonState
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.triton.inference import TritonInference

BUILT_IN = ("audio2motion", "tpsm")
LATER = ("broken", "absent", ROWS, LABOUR)
GENEROUS_S = 120.0

StubsOf = Callable[[int, str], list[int]]


@pytest.fixture(scope="module")
def crowded(make_repository: Callable[[], Path]) -> Path:
    """A repository with a network that takes its time, one with an axis of any length, a damaged
    one and a folder without one.
    """
    path = make_repository()
    add_labour(path)
    add_rows(path)
    for name in ("broken", "absent"):
        add_labour(path, name, products=1)
    (path / "broken" / "1" / "model.onnx").write_bytes(b"no network")
    (path / "absent" / "1" / "model.onnx").rename(path / "absent" / "1" / "model.onnx.new")
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(crowded: Path) -> AsyncIterator[EmbeddedTriton]:
    async with EmbeddedTriton(crowded, BUILT_IN, later=LATER) as supervised:
        assert all(supervised.has_ready(model) for model in BUILT_IN)
        assert not supervised.has_ready(LABOUR), "nobody waits for it"
        await until(lambda: supervised.has_ready(LABOUR), GENEROUS_S)
        yield supervised


@pytest_asyncio.fixture(loop_scope="session")
async def inference(server: EmbeddedTriton, crowded: Path) -> AsyncIterator[TritonInference]:
    async with TritonInference([server], read_repository(crowded)) as door:
        yield door


def mouths(*values: float) -> dict[str, NDArray[np.float32]]:
    return {"mouth": np.array(values, np.float32).reshape(-1, 1, 1)}


async def draw(inference: TritonInference) -> None:
    """One picture of the built-in renderer's test card."""
    probe = {"motion": np.zeros((1, 11), np.float32), "face": np.zeros((1, 32), np.uint8)}
    await inference.infer("tpsm", probe, deadline=time.monotonic() + GENEROUS_S)


async def test_each_model_is_ready_or_says_why_not(
    server: EmbeddedTriton, inference: TritonInference
) -> None:
    health = server.health()
    assert [health.models[name] for name in (*BUILT_IN, ROWS, LABOUR)] == [""] * 4
    assert "model.onnx" in health.models["broken"]
    assert "missing" in health.models["absent"], "an export that is still being written is none"
    assert (health.restarts, health.state) == (0, TritonState.RUNNING)
    lights = await inference.infer(
        LABOUR, mouths(0.25, 0.75), deadline=time.monotonic() + GENEROUS_S
    )
    np.testing.assert_allclose(lights["light"].ravel(), [0.25, 0.75], atol=1e-5)


async def test_a_heavy_model_leaves_the_cores_to_the_others(
    server: EmbeddedTriton, stubs_of: StubsOf
) -> None:
    niceness = {
        model: [
            os.getpriority(os.PRIO_PROCESS, pid) for pid in stubs_of(server.health().pid, model)
        ]
        for model in (ROWS, LABOUR)
    }
    assert niceness[LABOUR][0] > niceness[ROWS][0]


def is_verifying() -> bool:
    """True while the supervisor verifies a suspected fault."""
    return any(task.get_name().startswith("verify ") for task in asyncio.all_tasks())


async def test_requests_of_a_heavy_model_that_run_late_are_no_fault_of_it(
    server: EmbeddedTriton,
    inference: TritonInference,
    stubs_of: StubsOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(healing, "WORKING_WATCH_S", 0.1)
    before, stub = server.health(), stubs_of(server.health().pid, LABOUR)
    outcomes = await asyncio.gather(
        *(
            inference.infer(LABOUR, mouths(*[0.5] * 4), deadline=time.monotonic() + 0.1)
            for _ in range(4)
        ),
        return_exceptions=True,
    )
    assert [outcome.code for outcome in outcomes if isinstance(outcome, InferenceError)] == [
        LipSyncErrorCode.TIMEOUT
    ] * 4
    await until(is_verifying, GENEROUS_S)
    await until(lambda: not is_verifying(), GENEROUS_S)
    await draw(inference)
    assert server.health() == before
    assert stubs_of(server.health().pid, LABOUR) == stub


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_a_heavy_model_that_is_gone_is_loaded_again_behind_the_others(
    server: EmbeddedTriton, inference: TritonInference, stubs_of: StubsOf, number: signal.Signals
) -> None:
    pid, stub = server.health().pid, stubs_of(server.health().pid, LABOUR)
    assert server._current is not None
    server._current._loader._waits_s.clear()
    os.kill(stub[0], number)
    await until(lambda: not server.has_ready(LABOUR), GENEROUS_S)
    assert server.state is TritonState.RUNNING
    assert all(server.has_ready(model) for model in BUILT_IN)
    await draw(inference)
    await until(lambda: server.has_ready(LABOUR), GENEROUS_S)
    assert server.health().pid == pid
    assert stub[0] not in stubs_of(pid, LABOUR)
    await inference.infer(LABOUR, mouths(0.5), deadline=time.monotonic() + GENEROUS_S)


async def test_after_a_restart_the_built_in_models_are_back_before_the_others(
    server: EmbeddedTriton,
) -> None:
    os.kill(server.health().pid, signal.SIGKILL)
    await until(lambda: not server.has_ready("tpsm"), GENEROUS_S)
    assert not server.has_ready(LABOUR)
    await until(lambda: all(server.has_ready(model) for model in BUILT_IN), GENEROUS_S)
    assert not server.has_ready(LABOUR)
    await until(lambda: server.has_ready(LABOUR) and server.has_ready(ROWS), GENEROUS_S)
    assert server.restarts == 1


async def test_a_network_that_does_not_fit_into_memory_is_not_loaded(
    crowded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.inference.embedded.readiness.free_bytes", lambda: 100 << 20)
    async with EmbeddedTriton(crowded, ("painter",), later=(ROWS, LABOUR)) as server:
        await until(lambda: "memory" in server.health().models[LABOUR], GENEROUS_S)
        assert "--models" in server.health().models[LABOUR]
        assert server.has_ready("painter")
