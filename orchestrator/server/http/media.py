"""Whole recordings over HTTP: `POST /v1/render` makes an MP4 of one, `POST /v1/benchmark` tries
every model on one.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from orchestrator.audio.codecs.decoder import AudioDecoder
from orchestrator.audio.sandboxed_files import read_apart
from orchestrator.core.errors import invalid_field
from orchestrator.core.types import AudioChunk, LipSyncModel, Resolution, VideoGenerationConfig
from orchestrator.faces.ids import check_id
from orchestrator.faces.storage.layout import DEMO_USER
from orchestrator.inference.model_contract import read_repository
from orchestrator.pipeline.benchmark import BenchmarkResult
from orchestrator.pipeline.offline_renderer import OfflineRenderer, Wish, as_chunks
from orchestrator.pipeline.render_mp4 import film
from orchestrator.protocol import WireAudio, audio_request, wire_fault
from orchestrator.server.http import schemas as answers
from orchestrator.server.http.access import caller_of
from orchestrator.server.http.context import (
    BENCHMARKS,
    CONFIG,
    RENDERS,
    SERVICE,
    answer,
    number_of,
    text_of,
    while_connected,
)
from orchestrator.server.http.uploads import read_body, read_form, upload_of
from orchestrator.sessions.admission import SessionRegistry, too_many

MAX_RECORDING_BYTES: Final = 64 * 1024 * 1024
"""Five minutes of 44.1 kHz stereo are 53 MB."""

MAX_BENCHMARK_S: Final = 10.0
SIZES: Final = ("128", "256", "512")
RENDER_RETRY_S: Final = 15
BENCHMARK_RETRY_S: Final = 30

MOST_PATIENCE: Final = 4.0
"""While others speak a rendering pauses after each batch, at most this many times as long as the
batch took.
"""

SEND_BYTES: Final = 256 * 1024


async def render(request: web.Request) -> web.StreamResponse:
    """Multipart `audio` and whose face: an MP4 with sound, when all of it is drawn."""
    app = request.app
    _check_render(app)
    form = await _form(request)
    _check_render(app)
    with tempfile.TemporaryDirectory(prefix="lipsync-render-") as folder:
        path = Path(folder) / "render.mp4"
        async with app[RENDERS]:
            await while_connected(
                request, _render(request, form, path), app[CONFIG].render_timeout_s
            )
        return await _send(request, path)


def _check_render(app: web.Application) -> None:
    """Before a recording is sent in vain, and once it is there: whoever is slow to send one holds
    no place.
    """
    if app[RENDERS].locked():
        raise too_many(
            "other recordings are being rendered; try again",
            retry_after_s=RENDER_RETRY_S,
            limit=app[CONFIG].max_renders,
        )


async def _render(request: web.Request, form: dict[str, bytes], path: Path) -> None:
    config, service = request.app[CONFIG], request.app[SERVICE]
    wish = await _wish(request, form)
    sound = await read_apart(form.pop("audio"), max_duration_s=config.max_render_s)
    repository = await asyncio.to_thread(read_repository, config.model_repository)
    renderer = OfflineRenderer(
        config, service.faces, service.video.inference, repository, service.metrics
    )
    await film(renderer, wish, sound, path, _give_way(service.sessions))


def _give_way(sessions: SessionRegistry) -> Callable[[int], Awaitable[None]]:
    """Those who speak live come first: the more they are, the longer a rendering pauses between two
    batches.
    """
    loop = asyncio.get_running_loop()
    resumed_s = loop.time()

    async def pause(frames: int) -> None:
        nonlocal resumed_s
        await asyncio.sleep((loop.time() - resumed_s) * min(sessions.speaking(), MOST_PATIENCE))
        resumed_s = loop.time()

    return pause


async def _wish(request: web.Request, form: Mapping[str, bytes]) -> Wish:
    user_id, size = _user(request, text_of(form, "userId")), text_of(form, "size") or "256"
    if size not in SIZES:
        raise invalid_field(
            "size", f"is {size!r}; must be {', '.join(SIZES)}: the side of the picture in pixels"
        )
    fps = number_of(form, "targetFps", VideoGenerationConfig().target_fps, 15.0, 25.0)
    model = _model(text_of(form, "model"), request.app[CONFIG].default_model)
    face_id = text_of(form, "faceModelId") or await request.app[SERVICE].faces.active_model_id(
        user_id
    )
    return Wish(
        user_id,
        check_id(face_id, "faceModelId"),
        model,
        VideoGenerationConfig(fps, Resolution(int(size), int(size))),
    )


def _model(name: str | None, default: LipSyncModel) -> LipSyncModel:
    try:
        return default if name is None else LipSyncModel(name)
    except ValueError:
        raise invalid_field(
            "model", f"{name!r} is not known; `GET /v1/models` lists them"
        ) from None


def _user(request: web.Request, named: str | None) -> str:
    """Whose face: the one named, the token's own, or the demo user."""
    caller = caller_of(request)
    user_id = check_id(named or caller.user_id or DEMO_USER, "userId")
    caller.check(user_id)
    return user_id


async def _form(request: web.Request) -> dict[str, bytes]:
    if not request.content_type.startswith("multipart/"):
        raise invalid_field(
            "audio", "is missing; send a multipart form whose field `audio` is the recording"
        )
    async with upload_of(request) as upload:
        form = await read_form(request, upload, {"audio": MAX_RECORDING_BYTES})
    if not form.get("audio"):
        raise invalid_field(
            "audio", "is missing; send the recording as the multipart field `audio`"
        )
    return form


async def _send(request: web.Request, path: Path) -> web.StreamResponse:
    """The file in pieces. A client that takes none for `send_timeout_s`, or not all in the time of
    a rendering, is disconnected.
    """
    headers = {
        "Content-Type": "video/mp4",
        "Content-Disposition": 'attachment; filename="render.mp4"',
    }
    response = web.StreamResponse(headers=headers)
    if request.transport is not None:
        request.transport.set_write_buffer_limits(
            high=0
        )  # what waits there at the end would wait for ever
    try:
        with path.open("rb") as file:
            response.content_length = os.fstat(file.fileno()).st_size
            await response.prepare(request)
            async with asyncio.timeout(request.app[CONFIG].render_timeout_s):
                while piece := await asyncio.to_thread(file.read, SEND_BYTES):
                    async with asyncio.timeout(request.app[CONFIG].send_timeout_s):
                        await response.write(piece)
                async with asyncio.timeout(request.app[CONFIG].send_timeout_s):
                    await response.write_eof()
    except TimeoutError:
        raise ConnectionResetError("the client takes no data") from None
    return response


async def benchmark(request: web.Request) -> web.Response:
    """A face and test audio, as JSON or as a form: what every model that can draw it makes of
    it.
    """
    app = request.app
    _check_benchmark(app)
    test = await (
        _form(request) if request.content_type.startswith("multipart/") else _json(request)
    )
    _check_benchmark(app)
    async with app[BENCHMARKS]:
        results = await while_connected(
            request, _benchmark(request, test), app[CONFIG].render_timeout_s
        )
    return answer(answers.Benchmark([_result(result) for result in results]))


def _check_benchmark(app: web.Application) -> None:
    if app[BENCHMARKS].locked():
        raise too_many(
            "another benchmark runs; try again when it is done",
            retry_after_s=BENCHMARK_RETRY_S,
            limit=1,
        )


async def _benchmark(
    request: web.Request, test: dict[str, bytes] | answers.BenchmarkRequest
) -> list[BenchmarkResult]:
    service = request.app[SERVICE]
    user_id, face_id, speech = await (
        _recorded(request, test) if isinstance(test, dict) else _said(request, test)
    )
    face = await service.faces.load_face_model(user_id, face_id)
    return await service.benchmark_models(face, speech)


async def _recorded(
    request: web.Request, form: dict[str, bytes]
) -> tuple[str, str | None, Sequence[AudioChunk]]:
    """User, face and speech."""
    sound = await read_apart(form.pop("audio"), max_duration_s=MAX_BENCHMARK_S, as_heard=True)
    return (
        _user(request, text_of(form, "userId")),
        text_of(form, "faceModelId"),
        as_chunks(sound.samples[0]),
    )


async def _said(
    request: web.Request, wanted: answers.BenchmarkRequest
) -> tuple[str, str | None, Sequence[AudioChunk]]:
    user_id = _user(request, wanted.user_id)
    chunk = audio_request(WireAudio("benchmark", user_id, wanted.audio_chunk)).chunk
    await asyncio.to_thread(
        AudioDecoder().decode, chunk
    )  # what cannot be heard is the caller's fault, not the models'
    return user_id, wanted.face_model_id, [chunk]


async def _json(request: web.Request) -> answers.BenchmarkRequest:
    async with upload_of(request) as upload:
        body = await read_body(request, upload)
    try:
        return msgspec.json.decode(body, type=answers.BenchmarkRequest)
    except msgspec.ValidationError as error:
        raise wire_fault(error, answers.BenchmarkRequest, body, "body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_field(
            "body", f"is neither a multipart form nor valid JSON ({error})"
        ) from None


def _result(result: BenchmarkResult) -> answers.BenchmarkResult:
    return answers.BenchmarkResult(
        model=result.model.value,
        test_duration_ms=round(result.test_duration_ms, 1),
        frames_generated=result.frames_generated,
        average_latency_ms=round(result.average_latency_ms, 3),
        max_latency_ms=round(result.max_latency_ms, 3),
        min_latency_ms=round(result.min_latency_ms, 3),
        quality_score=result.quality_score,
        gpu_memory_peak_mb=None
        if result.gpu_memory_peak_mb is None
        else round(result.gpu_memory_peak_mb, 1),
        is_recommended=result.is_recommended,
    )
