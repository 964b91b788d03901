"""A real `tritonserver` for the tests of this folder: the shipped models, and one that does what a
test tells it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from tiny_onnx import write_projection

from orchestrator.core.errors import LipSyncError
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.inference.embedded.environment import find_server
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import Repository, read_repository
from orchestrator.inference.triton.inference import TritonInference

MODELS = ("audio2motion", "tpsm", "painter")

PATIENCE_S = {
    "embedded.control_client.PROBE_TIMEOUT_S": 5.0,
    "embedded.control_client.START_TIMEOUT_S": 240.0,
    "embedded.control_client.UNLOAD_TIMEOUT_S": 30.0,
    "embedded.supervisor.FIRST_START_TIMEOUT_S": 300.0,
    "embedded.budgets.ANSWER_S": 30.0,
    "embedded.budgets.LOAD_S": 240.0,
    "triton.shared_memory.REGISTER_TIMEOUT_S": 30.0,
}
"""A server that ended, a process that was stopped or died, and an error are noticed without them. 
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The server outlives a test, and so its event loop has to."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("asyncio"):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", autouse=True)
def wheel() -> None:
    try:
        find_server()
    except LipSyncError as error:
        pytest.skip(error.message)


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Meanwhile a supervisor in this process waits as long as a slow machine takes, instead of
    mending what is not broken.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, seconds in PATIENCE_S.items():
            patch.setattr(f"orchestrator.inference.{name}", seconds)
        yield


@pytest.fixture(scope="module", autouse=True)
def _patient_supervisor() -> Iterator[None]:
    with patience():
        yield


@pytest.fixture(scope="session")
def make_repository(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Builds a repository of its own: the shipped configurations; a network with random weights
    where none was trained yet.
    """

    def make() -> Path:
        path = tmp_path_factory.mktemp("model_repository")
        for name in ("audio2motion", "tpsm", "tpsm_speech"):
            shutil.copytree(
                MODEL_REPOSITORY / name, path / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        shutil.copytree(Path(__file__).parent / "models" / "painter", path / "painter")
        network = path / "audio2motion" / "1" / "model.onnx"
        if not network.exists():
            write_projection(network, rows=80, columns=80, steps=8, parameters=7)
        return path

    return make


@pytest.fixture(scope="session")
def repository(make_repository: Callable[[], Path]) -> Repository:
    return read_repository(make_repository())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded_triton(repository: Repository) -> AsyncIterator[EmbeddedTriton]:
    """One server for all tests that do not break it."""
    async with contextlib.AsyncExitStack() as stack:
        with (
            patience()
        ):  # here, since a fixture of the session begins before those of its first file
            server = await stack.enter_async_context(EmbeddedTriton(repository.path, MODELS))
        assert all(server.has_ready(model) for model in MODELS), server.health()
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def inference(
    embedded_triton: EmbeddedTriton, repository: Repository
) -> AsyncIterator[TritonInference]:
    async with TritonInference([embedded_triton], repository) as door:
        yield door


@pytest.fixture
def stubs_of() -> Callable[[int, str], list[int]]:
    """Process ids of a model's backend processes."""

    def find(server_pid: int, model: str) -> list[int]:
        found = []
        for child in psutil.Process(server_pid).children():
            with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
                if any(part.startswith(f"{model}_0_") for part in child.cmdline()):
                    found.append(child.pid)
        return found

    return find


os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
