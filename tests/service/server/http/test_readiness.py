"""`/readyz` says whether new sessions are accepted: not whether the default model draws."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from ws_client import connect, syllables

from orchestrator.core.config import ServiceConfig
from orchestrator.inference import Inference
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_contract import Repository, read_repository
from orchestrator.server.app import build_app
from orchestrator.server.http.context import SWITCHBOARD


class Losable(LocalInference):
    """Inference whose networks may be away."""

    is_away = False

    async def ready(self, model: str) -> bool:
        return not self.is_away and await super().ready(model)


async def readiness(server: TestServer) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(server.make_url("/readyz")) as answer:
        return answer.status, await answer.json()


@asynccontextmanager
async def service(
    storage: Path, *, with_networks: bool
) -> AsyncIterator[tuple[TestServer, Losable]]:
    config = ServiceConfig(storage=storage, capacity_probe=False)
    networks = Losable(
        read_repository(config.model_repository) if with_networks else Repository(Path(), {})
    )

    @asynccontextmanager
    async def inference() -> AsyncIterator[Inference]:
        async with networks as opened:
            yield opened

    async with TestServer(build_app(config, inference)) as server:
        yield server, networks


async def test_without_its_default_model_a_service_starts_for_a_while_and_then_serves_with_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(tmp_path, with_networks=False) as (server, _):
        assert await readiness(server) == (
            503,
            {"ready": False, "reason": "STARTING", "degraded": ["tpsm"]},
        )
    monkeypatch.setattr("orchestrator.server.http.context.START_S", 0.0)
    async with service(tmp_path, with_networks=False) as (server, _):
        assert await readiness(server) == (200, {"ready": True, "degraded": ["tpsm"]})
        async with connect(str(server.make_url("")).rstrip("/")) as client:
            await client.speak(syllables(0.3))
            await client.until("response_end")
            assert {frame["model"] for frame in client.frames()} == {"static"}


async def test_a_default_model_that_is_lost_later_leaves_the_service_ready(tmp_path: Path) -> None:
    async with service(tmp_path, with_networks=True) as (server, networks):
        assert await readiness(server) == (200, {"ready": True})
        networks.is_away = True
        assert await readiness(server) == (200, {"ready": True, "degraded": ["tpsm"]})


async def test_a_service_that_shuts_down_is_not_ready(tmp_path: Path) -> None:
    async with service(tmp_path, with_networks=True) as (server, _):
        server.app[SWITCHBOARD].drain.begin()
        assert await readiness(server) == (503, {"ready": False, "reason": "DRAINING"})
