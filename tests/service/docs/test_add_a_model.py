"""`docs/add_a_model.md`, followed to the letter in a copy of this checkout: the model that it adds
holds a conversation.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import simplejpeg
from project_root import ROOT
from serving import serve
from ws_client import connect, syllables

from orchestrator.core.downloads import TRITONSERVER
from orchestrator.core.paths import MODEL_REPOSITORY

PAGE = (ROOT / "docs" / "add_a_model.md").read_text()
FILES = {
    path: code
    for path, code in re.findall(
        r"^## \d\. [^`\n]+`([^`]+)`$.*?^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    )
}
ADAPTERS = "orchestrator/models/__init__.py"
NEEDED = ("torch", "onnx")
LOADED_WITHIN_S = 240.0
SEEDED = "seeded 1 (random weights, for tests only)"

missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(
        bool(missing),
        reason=f"not installed: {', '.join(missing)}; they come with the extra 'export'",
    ),
    pytest.mark.skipif(
        not TRITONSERVER.is_present(),
        reason="tritonserver is not fetched: lipsync fetch tritonserver",
    ),
]


def run(checkout: Path, *command: str) -> str:
    """The output of a program of that checkout; the working directory comes before installed
    packages.
    """
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def fetch(url: str) -> Any:
    """The JSON of an answer."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return await answer.json()


async def _loaded(url: str) -> None:
    """Until the model may be used: what the user exported is loaded behind the built-in models."""
    async with asyncio.timeout(LOADED_WITHIN_S):
        while not (await fetch(f"{url}/v1/health"))["models"]["glow"]["available"]:  # noqa: ASYNC110 - the server is another process
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the program, with the page's files and its line."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("orchestrator", "export"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("audio2motion", "tpsm"):
        shutil.copytree(
            MODEL_REPOSITORY / name,
            copy / "model_repository" / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for path, code in FILES.items():
        if path != ADAPTERS:
            (copy / path).parent.mkdir(exist_ok=True)
            (copy / path).write_text(code)
    text = (copy / ADAPTERS).read_text()
    imported = text.replace(
        "from orchestrator.models.static.adapter",
        "from orchestrator.models.glow import Glow\nfrom orchestrator.models.static.adapter",
    )
    (copy / ADAPTERS).write_text(
        imported.replace("    Static(),\n", f"{FILES[ADAPTERS]}    Static(),\n")
    )
    yield copy
    shutil.rmtree(copy)


def test_the_page_holds_an_exporter_a_configuration_an_adapter_and_a_line() -> None:
    assert list(FILES) == [
        "export/networks/glow.py",
        "model_repository/glow/config.pbtxt",
        "orchestrator/models/glow.py",
        ADAPTERS,
    ]
    assert FILES[ADAPTERS] == "    Glow(),\n"
    assert not [path for path in FILES if path != ADAPTERS and (ROOT / path).exists()]


async def test_the_model_of_the_page_speaks_through_triton(checkout: Path, tmp_path: Path) -> None:
    exported = run(checkout, "export", "glow", "--seeded", "1")
    assert f"glow: {SEEDED}" in exported
    assert (checkout / "model_repository" / "glow" / "1" / "model.onnx").is_file()
    listed = run(checkout, "orchestrator", "models", "--commercial-safe")
    assert re.search(
        rf"^glow {re.escape(SEEDED)} +yes +32\.5 ms +64 px +ours +CC0-1\.0 +yes$",
        listed,
        re.MULTILINE,
    ), listed
    with serve(tmp_path, "--commercial-safe", checkout=checkout) as (url, _):
        await _loaded(url)
        async with connect(url) as client:
            await client.speak(syllables(1.0), modelPreference="glow", turnId="lit")
            await client.until("response_end")
            await client.send({"type": "switch_model", "sessionId": "session-1", "model": "tpsm"})
            await client.speak(syllables(0.5), turnId="plain")
            await client.until("response_end")
        known = await fetch(f"{url}/v1/models")
        health = await fetch(f"{url}/v1/health")
    started = next(message for message in client.received if message["type"] == "response_start")
    assert (started["model"], started["weights"]) == ("glow", SEEDED)
    lit, plain = client.frames("lit"), client.frames("plain")
    assert [frame["sequenceNumber"] for frame in lit] == list(range(20))
    assert {frame["model"] for frame in lit} == {"glow"}
    assert {frame["model"] for frame in plain} == {"tpsm"}
    assert not [message for message in client.received if message["type"] == "error"]
    pictures = [simplejpeg.decode_jpeg(base64.b64decode(frame["frameData"])) for frame in lit]
    assert {picture.shape for picture in pictures} == {(256, 256, 3)}
    assert np.ptp([picture.mean() for picture in pictures]) > 1.0, (
        "the light does not follow the voice"
    )
    (glow,) = [model for model in known["models"] if model["name"] == "glow"]
    assert (glow["available"], glow["permitted"], glow["weights"]) == (True, True, SEEDED)
    assert glow["licence"] == {"code": "ours", "weights": "CC0-1.0", "commercialUse": True}
    assert health["models"]["glow"]["weights"] == SEEDED
