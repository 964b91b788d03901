"""Users whom the operator names do not wait for the storage with their first chunk."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from orchestrator.core.config import ServiceConfig
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.core.types import LipSyncModel
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, face_prefix
from orchestrator.server.app import build_app
from orchestrator.server.http.context import SERVICE


def enrol(storage: Path, user: str, face: str) -> None:
    """The demo portrait as this user's active face."""
    folder = storage / face_prefix(user, face)
    shutil.copytree(SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE), folder)
    metadata = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(metadata | {"id": face, "userId": user}))
    (folder.parent / "active_model.json").write_text(json.dumps({"activeModelId": face}))


async def test_the_faces_of_preloaded_users_are_ready_before_their_first_chunk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for user in ("ann", "bob"):
        enrol(tmp_path, user, "portrait")
    config = ServiceConfig(storage=tmp_path, preload_users=("ann", "nobody"), capacity_probe=False)

    app = build_app(config)
    async with TestServer(app), asyncio.timeout(120.0):
        service = app[SERVICE]
        anns, bobs = [await service.faces.load_face_model(user) for user in ("ann", "bob")]
        while service.faces.prepared(anns, service.adapters[LipSyncModel.STATIC], 512) is None:  # noqa: ASYNC110 - a task of the application's own
            await asyncio.sleep(0.01)
        for size in (256, 512):
            assert (
                service.faces.prepared(anns, service.adapters[LipSyncModel.TPSM], size) is not None
            )
            assert service.faces.prepared(bobs, service.adapters[LipSyncModel.TPSM], size) is None
    assert "no active face could be loaded for nobody" in caplog.text
