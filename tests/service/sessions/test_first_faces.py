"""The service listens, and says that it is ready, once the shipped face can speak at the default
size.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from orchestrator.core.config import ServiceConfig
from orchestrator.core.types import LipSyncModel
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER
from orchestrator.inference import Inference, Tensors
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_contract import Repository, read_repository
from orchestrator.server.app import build_app
from orchestrator.server.http.context import SERVICE


class Asked(LocalInference):
    """Notes what is asked of the renderer."""

    def __init__(self, repository: Repository) -> None:
        super().__init__(repository)
        self.renderer: list[list[str]] = []

    async def infer(self, model: str, inputs: Tensors, *, deadline: float) -> dict[str, Any]:
        if model == "tpsm":
            self.renderer.append(sorted(inputs))
        return await super().infer(model, inputs, deadline=deadline)


async def test_the_shipped_face_is_prepared_and_at_the_renderer_before_the_service_is_ready(
    tmp_path: Path,
) -> None:
    config = ServiceConfig(storage=tmp_path / "faces", capacity_probe=False)
    opened = list[Asked]()

    @asynccontextmanager
    async def in_process() -> AsyncIterator[Inference]:
        async with Asked(read_repository(config.model_repository)) as inference:
            opened.append(inference)
            yield inference

    app = build_app(config, in_process)
    async with TestServer(app) as server:
        first_requests = list(opened[0].renderer)
        async with aiohttp.ClientSession() as http, http.get(server.make_url("/readyz")) as answer:
            assert answer.status == 200
        service = app[SERVICE]
        face = await service.faces.load_face_model(DEMO_USER, DEMO_FACE)
        for model in (LipSyncModel.TPSM, LipSyncModel.STATIC):
            assert service.faces.prepared(face, service.adapters[model], 256) is not None
    assert first_requests == [["face", "maps", "motion"]]
    assert not (tmp_path / "faces").exists(), "nothing of it is stored"
