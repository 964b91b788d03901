"""Recordings over HTTP: rendered into an MP4, tried with every model, bounded, and given up when
nobody waits for them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest
from http_service import form, http_service, recording
from ws_client import connect, syllables

SECONDS = 1.6


async def post(url: str, data: Any, **options: Any) -> tuple[int, aiohttp.ClientResponse, bytes]:
    async with aiohttp.ClientSession() as http, http.post(url, data=data, **options) as answer:
        return answer.status, answer, await answer.read()


async def error_of(url: str, data: Any, **options: Any) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.post(url, data=data, **options) as answer:
        return answer.status, await answer.json()


async def test_a_recording_becomes_a_movie_with_sound_and_a_note(tmp_path: Path) -> None:
    async with http_service(tmp_path) as url:
        asked = form(
            {"audio": recording(SECONDS)}, faceModelId="demo", targetFps=25, size=128, model="tpsm"
        )
        status, answer, movie = await post(f"{url}/v1/render", asked)
    assert (status, answer.content_type, answer.content_length) == (200, "video/mp4", len(movie))
    with av.open(io.BytesIO(movie)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.average_rate, video.frames) == (128, 25, round(SECONDS * 25))
        assert float(audio.duration * audio.time_base) == pytest.approx(SECONDS, abs=0.005)
        assert (
            container.metadata["comment"].startswith("Synthetic media")
            and "tpsm" in container.metadata["comment"]
        )


@pytest.mark.parametrize(
    ("fields", "status", "code", "field"),
    [
        ({"audio": b""}, 400, "INVALID_MESSAGE", "audio"),
        ({"audio": b"no sound"}, 422, "AUDIO_PROCESSING_FAILED", "audio"),
        ({"audio": recording(2.5)}, 422, "AUDIO_PROCESSING_FAILED", "audio"),
        ({"size": 300}, 400, "INVALID_MESSAGE", "size"),
        ({"targetFps": 90}, 400, "INVALID_MESSAGE", "targetFps"),
        ({"targetFps": "nan"}, 400, "INVALID_MESSAGE", "targetFps"),
        ({"model": "magic"}, 400, "INVALID_MESSAGE", "model"),
        ({"model": "wav2lip"}, 503, "MODEL_LOAD_FAILED", None),
        ({"faceModelId": "../up"}, 400, "INVALID_MESSAGE", "faceModelId"),
        ({"faceModelId": "nobody"}, 404, "FACE_MODEL_NOT_FOUND", "faceModelId"),
        ({"userId": "nobody"}, 404, "FACE_MODEL_NOT_FOUND", "faceModelId"),
        ({"model": "x" * 2000}, 400, "INVALID_MESSAGE", "model"),
        ({f"field-{number}": "x" for number in range(20)}, 400, "INVALID_MESSAGE", "form"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
async def test_what_cannot_be_rendered_is_refused_by_field(
    tmp_path: Path, fields: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    audio = fields.pop("audio", None)
    try:
        async with http_service(tmp_path, max_render_s=2.0) as url:
            answered, error = await error_of(
                f"{url}/v1/render",
                form({"audio": recording(0.2) if audio is None else audio}, **fields),
            )
    finally:
        if audio is not None:
            fields["audio"] = audio
    assert (answered, error["errorCode"], error["details"].get("field")) == (status, code, field), (
        error
    )


async def test_a_body_that_is_no_form_is_refused_in_words(tmp_path: Path) -> None:
    async with http_service(tmp_path) as url:
        for headers in (
            {"Content-Type": "application/json"},
            {"Content-Type": "multipart/form-data"},
        ):
            status, error = await error_of(f"{url}/v1/render", b"{}", headers=headers)
            assert (status, error["errorCode"]) == (400, "INVALID_MESSAGE")


async def _until(url: str, *statuses: int) -> aiohttp.ClientResponse:
    """Ask for an empty rendering until it is answered so: 503 while the places are taken, 400 while
    one is free.
    """
    async with asyncio.timeout(120.0):
        while True:
            status, answer, _ = await post(f"{url}/v1/render", form({"audio": b""}))
            if status in statuses:
                return answer


async def test_while_the_places_are_taken_a_client_is_told_when_to_come_back_and_one_that_leaves_makes_room(
    tmp_path: Path,
) -> None:
    async with http_service(tmp_path, max_renders=1) as url:
        long = asyncio.create_task(
            post(f"{url}/v1/render", form({"audio": recording(250.0)}, size=512))
        )
        refused = await _until(url, 503)
        assert int(refused.headers["Retry-After"]) > 0
        assert not long.done()
        long.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await long
        await _until(url, 400)


async def test_a_rendering_ends_at_its_deadline(tmp_path: Path) -> None:
    async with http_service(tmp_path, render_timeout_s=0.3) as url:
        status, error = await error_of(
            f"{url}/v1/render", form({"audio": recording(120.0)}, size=512)
        )
        assert (status, error["errorCode"]) == (504, "TIMEOUT")
        await _until(url, 400)


async def test_live_turns_and_renderings_are_counted_together_and_never_backwards(
    tmp_path: Path,
) -> None:
    told = [0.0]
    async with http_service(tmp_path, frame_cache_ttl=0.0) as url, connect(url) as client:
        for turn in range(2):
            await client.speak(syllables(0.3), turnId=f"turn-{turn}")
            await client.until("response_end")
            told.append(await _drawing_s(url))
            status, _, _ = await post(f"{url}/v1/render", form({"audio": recording(3.0)}, size=128))
            assert status == 200
            told.append(await _drawing_s(url))
    assert told == sorted(set(told)), "each turn and each rendering added to what was counted"


async def _drawing_s(url: str) -> float:
    """What `tpsm` took for all batches."""
    name = 'lipsync_stage_seconds_sum{model="tpsm",stage="generate"}'
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0)


async def test_a_benchmark_recommends_one_of_the_models_that_can_draw_the_face(
    tmp_path: Path,
) -> None:
    chunk = {
        "data": base64.b64encode(recording(0.5)).decode(),
        "timestamp": 0,
        "sequenceNumber": 0,
        "sampleRate": 16000,
    }
    body = {
        "userId": "demo",
        "faceModelId": "demo",
        "audioChunk": chunk | {"channels": 1, "format": "wav"},
    }
    async with http_service(tmp_path) as url, aiohttp.ClientSession() as http:
        async with http.post(f"{url}/v1/benchmark", json=body) as answer:
            assert answer.status == 200
            of_chunk = (await answer.json())["results"]
        async with http.post(
            f"{url}/v1/benchmark", data=form({"audio": recording(SECONDS)})
        ) as answer:
            assert answer.status == 200
            of_file = (await answer.json())["results"]
        async with http.get(f"{url}/v1/models/tpsm/performance") as answer:
            performance = await answer.json()
    for results, seconds in ((of_chunk, 0.5), (of_file, SECONDS)):
        assert {result["model"] for result in results} == {"tpsm", "static"}
        assert sum(result["isRecommended"] for result in results) == 1
        assert all(
            result["testDurationMs"] == pytest.approx(1000 * seconds, abs=1) for result in results
        )
        assert all(
            result["minLatencyMs"] <= result["averageLatencyMs"] <= result["maxLatencyMs"]
            for result in results
        )
    assert performance["lastUpdated"].endswith("Z") and performance["p99LatencyMs"] > 0


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"audioChunk": None}, 400, "audioChunk"),
        ({"audioChunk": "absent"}, 400, "audioChunk"),
        ({"faceModelId": "no/body"}, 400, "faceModelId"),
        ({"faceModelId": "nobody"}, 404, "faceModelId"),
        ({"data": "not base64"}, 400, "audioChunk.data"),
        ({"data": "AAAA" * 30_000}, 400, "audioChunk.data"),
        ({"sampleRate": 1}, 400, "audioChunk.sampleRate"),
    ],
)
async def test_a_benchmark_of_something_else_is_refused_by_field(
    tmp_path: Path, change: dict[str, Any], status: int, field: str
) -> None:
    chunk = {
        "data": "AAAA" * 400,
        "timestamp": 0,
        "sequenceNumber": 0,
        "sampleRate": 16000,
        "channels": 1,
        "format": "pcm",
    }
    body = {
        "faceModelId": "demo",
        "audioChunk": chunk | {key: value for key, value in change.items() if key in chunk},
    }
    body |= {key: value for key, value in change.items() if key in body}
    body = {key: value for key, value in body.items() if value != "absent"}
    async with http_service(tmp_path) as url:
        answered, error = await error_of(f"{url}/v1/benchmark", None, json=body)
    assert (answered, error["details"].get("field")) == (status, field), error


async def test_whoever_is_slow_to_send_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    """Bob begins to send more than there are places of anything, and no more comes."""
    begun = {"render": "audio", "benchmark": "audio", "users/bob/face-models": "photo"}

    async def begin(url: str, path: str, kind: str, body: str) -> asyncio.StreamWriter:
        host = url.removeprefix("http://")
        _, writer = await asyncio.open_connection(*host.split(":"))
        head = (
            f"POST /v1/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer "
            f"bob-token\r\nContent-Type: {kind}\r\n"
        )
        writer.write(f"{head}Content-Length: 9999\r\n\r\n{body}".encode())
        await writer.drain()
        return writer

    async with http_service(
        tmp_path, max_renders=1, auth_tokens={"demo-token": "demo", "bob-token": "bob"}
    ) as url:
        slow = [await begin(url, "benchmark", "application/json", "{")]
        for path, field in begun.items():
            part = f'--b\r\nContent-Disposition: form-data; name="{field}"\r\n\r\nRIFF'
            slow += [
                await begin(url, path, "multipart/form-data; boundary=b", part) for _ in range(4)
            ]
        demo = {"Authorization": "Bearer demo-token"}
        for path in ("render", "benchmark"):
            status, _, body = await post(
                f"{url}/v1/{path}", form({"audio": recording(0.2)}, size=128), headers=demo
            )
            assert status == 200, body
        photo = form({"photo": b"no photo"}, consent="true")
        status, error = await error_of(f"{url}/v1/users/demo/face-models", photo, headers=demo)
        assert (status, error["details"]["reasons"][0]["code"]) == (422, "NOT_A_PICTURE")
        for writer in slow:
            writer.close()


async def test_a_token_renders_and_tries_its_own_users_faces_alone(tmp_path: Path) -> None:
    tokens = {"demo-token": "demo", "ann-token": "ann"}
    async with http_service(tmp_path, auth_tokens=tokens) as url:
        for path in ("render", "benchmark"):
            data = {"audio": recording(0.2)}
            assert (await error_of(f"{url}/v1/{path}", form(data)))[0] == 401
            ann = {"Authorization": "Bearer ann-token"}
            status, error = await error_of(
                f"{url}/v1/{path}", form(data, userId="demo"), headers=ann
            )
            assert (status, error["errorCode"]) == (403, "UNAUTHORIZED")
            status, _, _ = await post(
                f"{url}/v1/{path}",
                form(data, size=128),
                headers={"Authorization": "Bearer demo-token"},
            )
            assert status == 200
