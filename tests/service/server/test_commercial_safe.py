"""A service that is for commercial use only, from outside: what clients are told, and what they are
served with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from ws_client import connect, syllables

from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.types import LipSyncModel
from orchestrator.server.app import build_app

CONFIG = ServiceConfig(commercial_safe=True, chunk_deadline_ms=60_000, capacity_probe=False)


@pytest_asyncio.fixture
async def safe_url(tmp_path: Path) -> AsyncIterator[str]:
    async with TestServer(build_app(dataclasses.replace(CONFIG, storage=tmp_path))) as server:
        yield str(server.make_url("")).rstrip("/")


async def test_a_client_that_prefers_a_refused_model_is_told_and_served(safe_url: str) -> None:
    async with connect(safe_url) as client:
        await client.speak(syllables(0.5), modelPreference="wav2lip")
        await client.until("response_end")
        await client.send({"type": "switch_model", "sessionId": "session-1", "model": "sadtalker"})
        told = await client.until("error")
    errors = [message for message in client.received if message["type"] == "error"]
    assert [error["details"]["model"] for error in errors] == ["wav2lip", "sadtalker"]
    assert {error["details"]["alternative"] for error in errors} == {"tpsm"}
    assert (told["errorCode"], told["recoverable"], told["fallbackAvailable"]) == (
        "MODEL_LOAD_FAILED",
        True,
        True,
    )
    assert errors[0]["details"]["licence"] == {"code": "ours", "weights": "research only"}
    assert {frame["model"] for frame in client.frames()} == {"tpsm"}


async def test_the_models_are_listed_with_their_licences_and_what_the_gate_says(
    safe_url: str,
) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{safe_url}/v1/models") as answer:
        models = {model["name"]: model for model in (await answer.json())["models"]}
    assert models["tpsm"]["licence"] == {"code": "ours", "weights": "ours", "commercialUse": True}
    assert models["tpsm"]["permitted"]
    assert "refused" not in models["tpsm"]
    assert (models["wav2lip"]["permitted"], models["wav2lip"]["available"]) == (False, False)
    assert "weights: research only" in models["wav2lip"]["refused"]
    assert [network["name"] for network in models["tpsm"]["networks"]] == ["audio2motion", "tpsm"]


def test_an_application_for_commercial_use_does_not_start_with_another_default() -> None:
    with pytest.raises(ConfigError, match=r"default_model: wav2lip is refused.*; use tpsm"):
        build_app(dataclasses.replace(CONFIG, default_model=LipSyncModel.WAV2LIP))
