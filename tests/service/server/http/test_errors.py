"""Whatever goes wrong over HTTP is the typed object of the wire, whoever found it: the service,
aiohttp, or nobody.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from http_service import form, http_service, recording
from ws_client import connect, syllables

from orchestrator import protocol
from orchestrator.core.config import ServiceConfig
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.pipeline.session_state import SPEAKING_S
from orchestrator.server.http.context import SERVICE
from orchestrator.server.http.errors import errors_as_json
from orchestrator.sessions.service import LipSyncService


async def asked(
    url: str, method: str, path: str, **options: Any
) -> tuple[int, protocol.ErrorMessage, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url + path, **options) as answer,
    ):
        assert answer.content_type == "application/json"
        return (
            answer.status,
            msgspec.json.decode(await answer.read(), type=protocol.ErrorMessage),
            answer.headers,
        )


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "INVALID_MESSAGE"),
        ("GET", "/v1/nowhere", 404, "INVALID_MESSAGE"),
        ("GET", "/demo/nowhere.js", 404, "INVALID_MESSAGE"),
        ("GET", "/demo/", 404, "INVALID_MESSAGE"),
        ("GET", "/demo/samples", 404, "INVALID_MESSAGE"),
        ("GET", "/demo/%2e%2e/faces/face-models", 404, "INVALID_MESSAGE"),
        ("GET", "/demo/%2e%2e%2f%2e%2e%2fapp.py", 404, "INVALID_MESSAGE"),
        ("GET", "/demo/a%00b", 404, "INVALID_MESSAGE"),
        ("GET", "/demo/" + "a" * 5000, 404, "INVALID_MESSAGE"),
        ("PUT", "/healthz", 405, "INVALID_MESSAGE"),
        ("GET", "/v1/render", 405, "INVALID_MESSAGE"),
        ("PATCH", "/v1/users/demo/face-models/demo", 405, "INVALID_MESSAGE"),
        ("GET", "/v1/ws", 400, "INVALID_MESSAGE"),
        ("GET", "/v1/models/magic/performance", 404, "INVALID_MESSAGE"),
        ("GET", "/v1/users/%2e%2e%2f/face-models", 400, "INVALID_MESSAGE"),
        ("GET", "/v1/users/a%00b/face-models", 400, "INVALID_MESSAGE"),
    ],
)
async def test_every_refusal_is_the_typed_object(
    service_url: str, method: str, path: str, status: int, code: str
) -> None:
    answered, error, headers = await asked(service_url, method, path)
    assert (answered, error.error_code) == (status, code)
    assert error.error_message
    assert ("Allow" in headers) == (status == 405)


async def test_too_large_a_body_is_the_typed_object_too(service_url: str) -> None:
    status, error, _ = await asked(
        service_url, "POST", "/v1/benchmark", data=io.BytesIO(bytes(9 * 2**20))
    )
    assert (status, error.details["status"]) == (413, 413)
    status, error, _ = await asked(
        service_url,
        "POST",
        "/v1/users/ann/face-models",
        data=form({"photo": bytes(21 * 2**20)}, consent="true"),
    )
    assert (status, error.details["field"]) == (400, "photo")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://["])
async def test_a_foreign_page_may_not_post(service_url: str, origin: str) -> None:
    for path in ("/v1/render", "/v1/benchmark", "/v1/users/ann/face-models"):
        status, error, _ = await asked(
            service_url, "POST", path, data=form({"audio": b"x"}), headers={"Origin": origin}
        )
        assert (status, error.error_code) == (403, "UNAUTHORIZED")
    status, error, _ = await asked(
        service_url,
        "POST",
        "/v1/render",
        data=form({"audio": b""}),
        headers={"Origin": service_url},
    )
    assert (status, error.details["field"]) == (400, "audio"), "the service's own page may"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    ("path", "kind", "field"),
    [
        ("benchmark", "application/json", "body"),
        ("render", "multipart/form-data; boundary=b", "form"),
    ],
)
async def test_a_body_that_is_not_coded_as_it_says_is_the_callers_fault_and_no_news_for_the_log(
    service_url: str,
    caplog: pytest.LogCaptureFixture,
    coding: str,
    path: str,
    kind: str,
    field: str,
) -> None:
    headers = {"Content-Type": kind, "Content-Encoding": coding}
    status, error, _ = await asked(
        service_url, "POST", f"/v1/{path}", data=io.BytesIO(b"neither of them"), headers=headers
    )
    assert (status, error.error_code, error.details["field"]) == (400, "INVALID_MESSAGE", field)
    assert "Traceback" not in caplog.text


async def test_a_token_of_bytes_that_are_no_text_is_an_unknown_one(tmp_path: Path) -> None:
    async with http_service(tmp_path, auth_tokens={"demo-token": "demo"}) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(
            b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
            b"\xff\r\nConnection: close\r\n\r\n"
        )
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 401 ") and b'"UNAUTHORIZED"' in answer


async def test_a_body_that_does_not_come_gives_its_place_to_others(
    service_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.server.http.uploads.UPLOAD_TIMEOUT_S", 0.05)

    async def never_ending() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="audio"\r\n\r\nRIFF'
        await asyncio.Event().wait()

    form_kind = "multipart/form-data; boundary=b"
    for path, kind in (
        ("/v1/render", form_kind),
        ("/v1/benchmark", form_kind),
        ("/v1/benchmark", "application/json"),
        ("/v1/users/ann/face-models", form_kind),
    ):
        status, error, _ = await asked(
            service_url, "POST", path, data=never_ending(), headers={"Content-Type": kind}
        )
        assert (status, error.error_code) == (408, "TIMEOUT")


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (ZeroDivisionError("secret"), 500, "INTERNAL"),
        (OSError("secret"), 503, "MODEL_LOAD_FAILED"),
    ],
    ids=["unforeseen", "of the disk"],
)
async def test_what_failed_inside_stands_in_the_log_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, failure: Exception, status: int, code: str
) -> None:
    async def broken(request: web.Request) -> web.Response:
        raise failure

    app = web.Application(middlewares=[errors_as_json])
    app[SERVICE] = LipSyncService(config=ServiceConfig(storage=tmp_path))
    app.router.add_get("/broken", broken)
    async with TestServer(app) as server:
        answered, error, _ = await asked(str(server.make_url("")).rstrip("/"), "GET", "/broken")
    assert (answered, error.error_code) == (status, code)
    assert "secret" not in error.error_message and "secret" in caplog.text


async def test_a_storage_that_is_away_is_no_missing_face_and_only_the_log_says_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*_: object) -> None:
        raise NotADirectoryError(20, "Not a directory", "/srv/faces/ann")

    monkeypatch.setattr(LocalFaceStore, "blobs", away)
    monkeypatch.setattr(LocalFaceStore, "read", away)
    async with http_service(tmp_path) as url:
        for path in ("/v1/users/ann/face-models", "/v1/users/ann/face-models/portrait"):
            status, error, _ = await asked(url, "GET", path)
            assert (status, error.details["storage"]) == (503, "away")
            assert "Not a directory" in error.error_message and "/srv" not in error.error_message
    assert "/srv/faces/ann" in caplog.text


async def test_a_session_beyond_the_limit_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with http_service(tmp_path, max_concurrent_sessions=1) as url, connect(url) as client:
        await client.say(syllables(0.1), 0, session="first")
        await client.say(syllables(0.1), 0, session="second")
        error = await client.until("error")
    assert (error["errorCode"], error["sessionId"], error["details"]["limit"]) == (
        "SESSION_LIMIT",
        "second",
        1,
    )
    assert 0 < error["details"]["retryAfterS"] <= 10 * SPEAKING_S


async def test_health_tells_of_sessions_gpu_capacity_and_every_model(
    service_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.pipeline.session_state.SPEAKING_S", 60.0)
    async with aiohttp.ClientSession() as http, connect(service_url) as client:
        await client.speak(syllables(0.5))
        await client.until("response_start")
        async with http.get(f"{service_url}/v1/health") as answer:
            health = await answer.json()
    assert (health["status"], health["activeSessions"], health["speakingSessions"]) == (
        "healthy",
        1,
        1,
    )
    assert (health["maxSessions"], health["gpuAvailable"], health["capacity"]) == (100, False, None)
    assert {"tpsm", "wav2lip", "sadtalker", "audio2head", "static"} <= set(health["models"])
    assert health["models"]["wav2lip"]["available"] is False
    assert health["models"]["wav2lip"]["p95LatencyMs"] is None


async def test_performance_has_every_field_and_null_where_nothing_is_known(
    service_url: str,
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{service_url}/v1/models/sadtalker/performance") as answer,
    ):
        performance = await answer.json()
    assert performance.pop("model") == "sadtalker"
    assert 0.0 < performance.pop("qualityScore") <= 1.0
    unknown = (
        "averageLatencyMs",
        "p95LatencyMs",
        "p99LatencyMs",
        "successRate",
        "gpuUtilization",
        "memoryUsageMb",
    )
    assert performance == dict.fromkeys((*unknown, "framesPerSecond", "lastUpdated"))


async def test_the_capacity_that_was_measured_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.server.app.CAPACITY_AFTER_S", 0.01)
    async with http_service(tmp_path, capacity_probe=True) as url, aiohttp.ClientSession() as http:
        capacity = None
        while capacity is None:
            async with http.get(f"{url}/v1/health") as answer:
                capacity = (await answer.json())["capacity"]
        async with http.get(f"{url}/v1/models/tpsm/performance") as answer:
            assert (await answer.json())["lastUpdated"] is None, (
                "what was measured for capacity is no session's latency"
            )
    assert capacity["speakingFaces"] >= 1
    assert capacity["cpuMsPerFrame"] > 0


async def test_a_recording_is_rendered_while_sessions_speak(tmp_path: Path) -> None:
    async with (
        http_service(tmp_path) as url,
        connect(url) as client,
        aiohttp.ClientSession() as http,
    ):
        await client.speak(syllables(0.5))
        async with http.post(
            f"{url}/v1/render", data=form({"audio": recording(1.0)}, size=128)
        ) as answer:
            assert answer.status == 200
        await client.until("response_end")
    assert [frame["sequenceNumber"] for frame in client.frames()] == list(range(10))


async def test_with_a_triton_elsewhere_no_capacity_is_told_and_the_configured_slots_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.server.app.CAPACITY_AFTER_S", 0.0)
    settings = {"capacity_probe": True, "triton_url": "gpu1:8001", "max_concurrent_sessions": 7}
    async with http_service(tmp_path, **settings) as url, aiohttp.ClientSession() as http:
        lines: list[str] = []
        while "lipsync_session_slots 7.0" not in lines:
            async with http.get(f"{url}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        assert "lipsync_capacity_faces NaN" in lines
        async with http.get(f"{url}/v1/health") as answer:
            assert (await answer.json())["capacity"] is None
