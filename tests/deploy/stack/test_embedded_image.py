"""The image for a single container: a Triton of its own, a read-only root, no capabilities."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest
from container_engine import Engine
from deploy_tools import DEPLOY, ROOT

from orchestrator.client import connect
from orchestrator.core.paths import SAMPLES

IMAGE = "lipsync-embedded"
TOKEN = "a-token-of-the-tests"
HARDENED = (
    "--read-only",
    "--tmpfs",
    "/tmp:exec",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
)

READY = "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz')"
WAIT = f'until python -c "{READY}" 2>/dev/null; do sleep 0.5; done'


@pytest.fixture(scope="module")
def url(engine: Engine) -> Iterator[str]:
    """Address of a container that serves by itself."""
    dockerfile = str(DEPLOY / "orchestrator" / "Dockerfile")
    base = "PYTHON_IMAGE=localhost/standin/python:3.11"
    engine.docker(
        "build",
        "--quiet",
        "--target",
        "embedded",
        "--tag",
        IMAGE,
        "--build-arg",
        base,
        "--file",
        dockerfile,
        str(ROOT),
    )
    settings = {
        "AUTH_TOKENS": f"{TOKEN}=demo",
        "CHUNK_DEADLINE_MS": "10000",
        "CAPACITY_PROBE": "false",
    }
    environment = [
        part for key, value in settings.items() for part in ("--env", f"LIPSYNC_{key}={value}")
    ]
    engine.docker("run", "--detach", "--name", "embedded", *HARDENED, *environment, IMAGE)
    engine.docker("exec", "embedded", "timeout", "120", "sh", "-c", WAIT)
    address = json.loads(engine.docker("inspect", "embedded"))[0]["NetworkSettings"]["IPAddress"]
    yield f"http://{address}:8080"
    engine.docker("rm", "--force", "embedded")


async def test_it_speaks_with_its_own_triton(url: str) -> None:
    async with connect(url, TOKEN) as client:
        turn = client.session(user="demo", face="demo").say_wav(SAMPLES / "hello.wav")
        frames = [(frame.sequence_number, frame.model) async for frame in turn.frames()]
    assert frames == [(number, "tpsm") for number in range(len(frames))]
    assert frames


def test_it_serves_the_page(url: str) -> None:
    with urllib.request.urlopen(url) as page:
        assert b"<html" in page.read()
