"""With tokens configured, each opens one user's faces and sessions, and without one nothing of users is open."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer

from orchestrator.app import build_app
from orchestrator.config import ServiceConfig
from orchestrator.inference import Inference
from orchestrator.inference.local import LocalInference
from orchestrator.inference.repository import read_repository

DEMO, ANN = {"Authorization": "Bearer demo-token"}, {"Authorization": "Bearer ann-token"}


@pytest_asyncio.fixture
async def guarded_url(tmp_path: Path) -> AsyncIterator[str]:
    config = ServiceConfig(
        storage=tmp_path,
        chunk_deadline_ms=5000,
        auth_tokens={"demo-token": "demo", "ann-token": "ann"},
        allowed_origins=("https://app.example",),
        max_sessions_per_user=2,
    )

    @asynccontextmanager
    async def in_process() -> AsyncIterator[Inference]:
        async with LocalInference(read_repository(config.model_repository)) as inference:
            yield inference

    async with TestServer(build_app(config, in_process)) as server:
        yield str(server.make_url("")).rstrip("/")


def audio(user: str, session: str = "s") -> str:
    chunk = {"data": "AAAA" * 800, "timestamp": 0, "sequenceNumber": 0, "sampleRate": 16000, "channels": 1, "format": "pcm"}
    message = {"type": "lipsync_audio", "sessionId": session, "userId": user, "faceModelId": "demo", "audioChunk": chunk}
    return json.dumps(message)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/users/demo/face-models", {}, 401),
        ("/v1/users/demo/face-models", {"Authorization": "Bearer guess"}, 401),
        ("/v1/users/demo/face-models", DEMO, 200),
        ("/v1/users/demo/face-models?access_token=demo-token", {}, 200),
        ("/v1/users/demo/face-models", ANN, 403),
        ("/v1/users/demo/face-models/demo/preview.jpg", ANN, 403),
        ("/v1/users/ann/face-models", ANN, 200),
        ("/v1/health", {}, 401),
        ("/v1/models", ANN, 200),
        ("/healthz", {}, 200),
        ("/readyz", {}, 200),
        ("/metrics", {}, 200),
        ("/", {}, 200),
    ],
)
async def test_a_path_opens_to_its_user(guarded_url: str, path: str, headers: dict[str, str], status: int) -> None:
    async with aiohttp.ClientSession() as http, http.get(guarded_url + path, headers=headers) as answer:
        assert answer.status == status
        if status == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert (await answer.json())["errorCode"] == "UNAUTHORIZED"


async def test_a_socket_needs_a_token_and_speaks_for_its_user_alone(guarded_url: str) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(f"{guarded_url}/v1/ws")
        assert caught.value.status == 401
        async with http.ws_connect(f"{guarded_url}/v1/ws", headers=ANN) as socket:
            await socket.send_str(audio("demo"))
            message = await socket.receive_json(timeout=10)
            assert (message["errorCode"], message["details"]) == ("UNAUTHORIZED", {"field": "userId"})
        async with http.ws_connect(f"{guarded_url}/v1/ws?access_token=demo-token") as socket:
            await socket.send_str(audio("demo"))
            assert (await socket.receive_json(timeout=10))["type"] == "response_start"


async def test_a_user_has_so_many_sessions_and_leaves_the_others_theirs(guarded_url: str) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{guarded_url}/v1/ws", headers=DEMO) as socket:
        for number in range(3):
            await socket.send_str(audio("demo", f"session-{number}"))
        message = await socket.receive_json(timeout=10)
        while message["type"] != "error":
            message = await socket.receive_json(timeout=10)
        assert (message["errorCode"], message["sessionId"]) == ("SESSION_LIMIT", "session-2")


@pytest.mark.parametrize(("origin", "opens"), [("https://app.example", True), ("https://evil.example", False), ("null", False)])
async def test_a_browser_connects_from_pages_that_were_named(guarded_url: str, origin: str, opens: bool) -> None:
    async with aiohttp.ClientSession() as http:
        connecting = http.ws_connect(f"{guarded_url}/v1/ws", headers=DEMO | {"Origin": origin})
        if opens:
            async with connecting:
                return
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await connecting
        assert caught.value.status == 403


async def test_a_flood_of_messages_is_refused_and_the_session_goes_on(guarded_url: str) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{guarded_url}/v1/ws", headers=DEMO) as socket:
        await socket.send_str(audio("demo"))
        for _ in range(1200):
            await socket.send_str('{"type": "client_report", "sessionId": "s"}')
        refused = 0
        while not refused:
            refused = (await socket.receive_json(timeout=10)).get("errorCode") == "BUFFER_OVERFLOW"
