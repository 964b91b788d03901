"""The whole application in this process, on a real port, with the shipped models run in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest_asyncio
from aiohttp.test_utils import TestServer

from orchestrator.app import build_app
from orchestrator.config import ServiceConfig
from orchestrator.inference import Inference
from orchestrator.inference.local import LocalInference
from orchestrator.inference.repository import read_repository


@pytest_asyncio.fixture
async def service_url(tmp_path: Path) -> AsyncIterator[str]:
    """`http://127.0.0.1:port` of a running service; nobody is faster than this machine, so deadlines are generous."""
    config = ServiceConfig(storage=tmp_path, chunk_deadline_ms=5000)

    @asynccontextmanager
    async def in_process() -> AsyncIterator[Inference]:
        async with LocalInference(read_repository(config.model_repository)) as inference:
            yield inference

    async with TestServer(build_app(config, in_process)) as server:
        yield str(server.make_url("")).rstrip("/")
