"""The whole application in this process, on a real port, with the shipped models run in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer

from orchestrator.core.config import ServiceConfig
from orchestrator.server.app import build_app


@pytest.fixture(autouse=True)
def _patient_storage(patient_storage: None) -> None:
    """Nothing here is about a storage that is slow."""


@pytest.fixture
def serving(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[str]]:
    """Opens a service with the settings that are given. The machine may be slow: deadlines are
    generous, and it is not measured.
    """

    @asynccontextmanager
    async def serve(**settings: Any) -> AsyncIterator[str]:
        config = ServiceConfig(
            storage=tmp_path, chunk_deadline_ms=60_000, capacity_probe=False, **settings
        )

        async with TestServer(build_app(config)) as server:
            yield str(server.make_url("")).rstrip("/")

    return serve


@pytest_asyncio.fixture
async def service_url(
    serving: Callable[..., AbstractAsyncContextManager[str]],
) -> AsyncIterator[str]:
    """`http://127.0.0.1:port` of a running service."""
    async with serving() as url:
        yield url
