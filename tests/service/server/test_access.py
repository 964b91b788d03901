"""With tokens configured, each opens one user's faces and sessions, and without one nothing of
users is open.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from ws_client import PATIENCE_S, connect

from orchestrator.core.config import ServiceConfig
from orchestrator.server.app import build_app

DEMO, ANN = {"Authorization": "Bearer demo-token"}, {"Authorization": "Bearer ann-token"}


@pytest_asyncio.fixture
async def guarded_url(tmp_path: Path) -> AsyncIterator[str]:
    config = ServiceConfig(
        storage=tmp_path,
        chunk_deadline_ms=60_000,
        capacity_probe=False,
        auth_tokens={"demo-token": "demo", "ann-token": "ann"},
        allowed_origins=("https://app.example",),
        max_sessions_per_user=2,
    )

    async with TestServer(build_app(config)) as server:
        yield str(server.make_url("")).rstrip("/")


def audio(user: str, session: str = "s") -> str:
    chunk = {
        "data": "AAAA" * 800,
        "timestamp": 0,
        "sequenceNumber": 0,
        "sampleRate": 16000,
        "channels": 1,
        "format": "pcm",
    }
    message = {
        "type": "lipsync_audio",
        "sessionId": session,
        "userId": user,
        "faceModelId": "demo",
        "audioChunk": chunk,
    }
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
async def test_a_path_opens_to_its_user(
    guarded_url: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.get(guarded_url + path, headers=headers) as answer,
    ):
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
            message = await socket.receive_json(timeout=PATIENCE_S)
            assert (message["errorCode"], message["details"]) == (
                "UNAUTHORIZED",
                {"field": "userId"},
            )
        async with http.ws_connect(f"{guarded_url}/v1/ws?access_token=demo-token") as socket:
            await socket.send_str(audio("demo"))
            assert (await socket.receive_json(timeout=PATIENCE_S))["type"] == "response_start"


async def test_a_user_has_so_many_sessions_and_leaves_the_others_theirs(guarded_url: str) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{guarded_url}/v1/ws", headers=DEMO) as socket,
    ):
        for number in range(3):
            await socket.send_str(audio("demo", f"session-{number}"))
        message = await socket.receive_json(timeout=PATIENCE_S)
        while message["type"] != "error":
            message = await socket.receive_json(timeout=PATIENCE_S)
        assert (message["errorCode"], message["sessionId"]) == ("SESSION_LIMIT", "session-2")


@pytest.mark.parametrize(
    ("origin", "opens"),
    [("https://app.example", True), ("https://evil.example", False), ("null", False)],
)
async def test_a_browser_connects_from_pages_that_were_named(
    guarded_url: str, origin: str, opens: bool
) -> None:
    async with aiohttp.ClientSession() as http:
        connecting = http.ws_connect(f"{guarded_url}/v1/ws", headers=DEMO | {"Origin": origin})
        if opens:
            async with connecting:
                return
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await connecting
        assert caught.value.status == 403


def preflight(origin: str, method: str = "DELETE") -> dict[str, str]:
    """What a browser asks before it lets a page send such a request with a token."""
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }


@pytest.mark.parametrize("path", ["/v1/users/demo/face-models/one", "/v1/benchmark", "/v1/health"])
async def test_a_browser_that_asks_for_a_named_page_is_told_that_it_may_send_a_token(
    guarded_url: str, path: str
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.options(guarded_url + path, headers=preflight("https://app.example")) as answer,
    ):
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert {"DELETE", "POST", "GET"} <= set(
            answer.headers["Access-Control-Allow-Methods"].split(", ")
        )
        assert {"Authorization", "Content-Type"} <= set(
            answer.headers["Access-Control-Allow-Headers"].split(", ")
        )


@pytest.mark.parametrize(
    "headers",
    [preflight("https://evil.example"), preflight("null"), {"Origin": "https://app.example"}, {}],
)
async def test_nobody_else_is_told_anything_without_a_token(
    guarded_url: str, headers: dict[str, str]
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.options(f"{guarded_url}/v1/health", headers=headers) as answer,
    ):
        assert answer.status == 401
        assert "Access-Control-Allow-Methods" not in answer.headers


async def test_a_named_page_needs_a_token_for_the_request_itself_and_reads_why_it_was_refused(
    guarded_url: str,
) -> None:
    url, origin = f"{guarded_url}/v1/users/demo/face-models/none", {"Origin": "https://app.example"}
    async with aiohttp.ClientSession() as http:
        for headers, status in (({}, 401), (ANN, 403), (DEMO, 404)):
            async with http.delete(url, headers=origin | headers) as answer:
                assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (
                    status,
                    "https://app.example",
                )
                assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"


@pytest.mark.parametrize(("patience_s", "told"), [(60.0, 0), (0.0, 1)])
async def test_a_flood_waits_in_its_own_socket_and_one_that_lasts_is_told_once(
    serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, patience_s: float, told: int
) -> None:
    monkeypatch.setattr("orchestrator.server.websocket.PATIENCE_S", patience_s)
    async with (
        serving(max_messages_per_s=200, inbox_ms=1000) as url,
        connect(url) as client,
        connect(url) as other,
    ):
        await client.send(audio("demo"))
        for _ in range(1000):  # 400 may come at once
            await client.send('{"type": "client_report", "sessionId": "s"}')
        await client.send('{"type": "end_utterance", "sessionId": "s"}')
        await other.send(audio("demo", "other"))
        await other.until("response_start")
        await client.until("response_end")
    errors = [message["errorCode"] for message in client.received if message["type"] == "error"]
    assert errors == ["BUFFER_OVERFLOW"] * told


async def test_a_token_that_expired_opens_no_session_and_ends_none(
    serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "a secret of at least thirty-two bytes"
    token = jwt.encode({"sub": "demo", "exp": time.time() + 300}, key, "HS256")
    async with (
        serving(auth_jwt_key=key) as url,
        connect(f"{url}/v1/ws?access_token={token}") as client,
    ):
        await client.send(audio("demo", "before"))
        await client.until("response_start")
        later_s = time.time() + 3600
        monkeypatch.setattr("orchestrator.server.auth.time", SimpleNamespace(time=lambda: later_s))
        await client.send(audio("demo", "after"))
        await client.send('{"type": "end_utterance", "sessionId": "before"}')
        await client.until("response_end", sessionId="before")
    (error,) = [message for message in client.received if message["type"] == "error"]
    assert (error["sessionId"], error["errorCode"], error["recoverable"]) == (
        "after",
        "UNAUTHORIZED",
        False,
    )
