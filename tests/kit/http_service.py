"""The whole application in the test's process with a configuration of the test's own, and
recordings to send to it.
"""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer
from ws_client import syllables

from orchestrator.core.config import ServiceConfig
from orchestrator.server.app import build_app


@asynccontextmanager
async def http_service(storage: Path, **settings: Any) -> AsyncIterator[str]:
    """Its URL; models run in process, and its machine is not measured."""
    config = ServiceConfig(
        storage=storage, chunk_deadline_ms=60_000, **{"capacity_probe": False, **settings}
    )

    async with TestServer(build_app(config)) as server:
        yield str(server.make_url("")).rstrip("/")


def recording(seconds: float) -> bytes:
    """A WAV file of speech-like sound."""
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        target.writeframes(syllables(seconds))
    return file.getvalue()


def form(files: Mapping[str, bytes], **fields: object) -> aiohttp.FormData:
    """A multipart form."""
    data = aiohttp.FormData()
    for name, content in files.items():
        data.add_field(name, io.BytesIO(content), filename=name)
    for name, value in fields.items():
        data.add_field(name, str(value))
    return data
