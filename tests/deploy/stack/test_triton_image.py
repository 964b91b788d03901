"""Triton's image by its own start command: our three models, as the clean checkout has them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_engine import Engine
from serving import serve

from orchestrator.client import LipSyncClient, connect
from orchestrator.core.paths import SAMPLES

IMAGE = "lipsync-triton:0.1.0"
HELLO = SAMPLES / "hello.wav"
FRAMES_OF_HELLO = 110
SESSIONS = 12
MODELS = ("audio2motion", "tpsm", "tpsm_speech")

READY = "until curl --fail --silent http://127.0.0.1:8000/v2/health/ready; do sleep 0.2; done"


@pytest.fixture(scope="module")
def triton(images: Engine) -> Iterator[str]:
    """Name of a container with the engine's usual /dev/shm of 64 MB, ready."""
    name = "triton-by-itself"
    hardened = (
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
    )
    images.docker("run", "--detach", "--name", name, *hardened, IMAGE)
    images.docker("exec", name, "timeout", "60", "sh", "-c", READY)
    yield name
    images.docker("rm", "--force", name)


@pytest.mark.parametrize("model", MODELS)
def test_the_models_of_the_default_model_are_ready(images: Engine, triton: str, model: str) -> None:
    images.docker(
        "exec",
        triton,
        "curl",
        "--fail",
        "--silent",
        f"http://127.0.0.1:8000/v2/models/{model}/ready",
    )


def test_the_renderer_needs_no_search_path(images: Engine, triton: str) -> None:
    assert "PYTHONPATH" not in images.docker("exec", triton, "env")
    folder = images.docker(
        "exec", triton, "python3", "-I", "-c", "import orchestrator; print(orchestrator.__file__)"
    )
    assert "-packages/" in folder


async def test_twelve_sessions_speak_at_once_within_64_mb_of_shared_memory(
    images: Engine, triton: str, tmp_path: Path
) -> None:
    address = json.loads(images.docker("inspect", triton))[0]["NetworkSettings"]["IPAddress"]
    with serve(tmp_path, "--triton-url", f"{address}:8001") as (url, _):
        async with connect(url) as client, asyncio.TaskGroup() as sessions:
            spoken = [sessions.create_task(greeting(client)) for _ in range(SESSIONS)]
    assert {models for models, _ in map(asyncio.Task.result, spoken)} == {frozenset({"tpsm"})}
    assert all(
        numbers == list(range(FRAMES_OF_HELLO)) for _, numbers in map(asyncio.Task.result, spoken)
    )
    assert "shm" not in images.docker("logs", triton).lower().replace("/dev/shm", "")


async def greeting(client: LipSyncClient) -> tuple[frozenset[str], list[int]]:
    """Who drew a greeting, and the numbers of its frames."""
    frames = [
        frame async for frame in client.session(user="demo", face="demo").say_wav(HELLO).frames()
    ]
    return frozenset(frame.model for frame in frames), [frame.sequence_number for frame in frames]
