"""`POST /v1/benchmark`: measure every model that supports a face on one recording."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec
from aiohttp import web

from orchestrator.audio.codecs.decoder import AudioDecoder
from orchestrator.audio.sandboxed_files import read_apart
from orchestrator.core.errors import invalid_field
from orchestrator.core.types import AudioChunk
from orchestrator.pipeline.benchmark import BenchmarkResult
from orchestrator.pipeline.offline_renderer import as_chunks
from orchestrator.protocol import WireAudio, audio_request, wire_fault
from orchestrator.server.http import schemas
from orchestrator.server.http.context import (
    BENCHMARKS,
    CONFIG,
    SERVICE,
    json_response,
    text_field,
    while_connected,
)
from orchestrator.server.http.recordings import face_owner, recording_form
from orchestrator.server.http.uploads import read_body, upload_of
from orchestrator.sessions.admission import too_many

MAX_BENCHMARK_S: Final = 10.0
"""Longest recording, in seconds."""

RETRY_AFTER_S: Final = 30

Body: TypeAlias = dict[str, bytes] | schemas.BenchmarkRequest
"""The request's body: the fields of a form, or the record of a JSON body."""


async def benchmark(request: web.Request) -> web.Response:
    """Generate a face's frames for test audio, sent as JSON or as a form, with every model."""
    app = request.app
    _check_slot(app)
    body = await _body(request)
    _check_slot(app)
    async with app[BENCHMARKS]:
        results = await while_connected(
            request, _benchmark(request, body), app[CONFIG].render_timeout_s
        )
    return json_response(schemas.Benchmark([_result(result) for result in results]))


def _check_slot(app: web.Application) -> None:
    """Raise SESSION_LIMIT while another benchmark runs: before the upload, and after it."""
    if app[BENCHMARKS].locked():
        raise too_many(
            "another benchmark is running: retry after `Retry-After` seconds",
            retry_after_s=RETRY_AFTER_S,
            limit=1,
        )


async def _body(request: web.Request) -> Body:
    if request.content_type.startswith("multipart/"):
        return await recording_form(request)
    return await _json(request)


async def _json(request: web.Request) -> schemas.BenchmarkRequest:
    async with upload_of(request) as upload:
        body = await read_body(request, upload)
    try:
        return msgspec.json.decode(body, type=schemas.BenchmarkRequest)
    except msgspec.ValidationError as error:
        raise wire_fault(error, schemas.BenchmarkRequest, body, "body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_field(
            "body", f"is neither a multipart form nor valid JSON ({error})"
        ) from None


async def _benchmark(request: web.Request, body: Body) -> list[BenchmarkResult]:
    service = request.app[SERVICE]
    if isinstance(body, dict):
        user_id = face_owner(request, text_field(body, "userId"))
        face_id, speech = text_field(body, "faceModelId"), await _recorded(body)
    else:
        user_id, face_id = face_owner(request, body.user_id), body.face_model_id
        speech = await _decodable(user_id, body)
    face = await service.faces.load_face_model(user_id, face_id)
    return await service.benchmark_models(face, speech)


async def _recorded(form: dict[str, bytes]) -> Sequence[AudioChunk]:
    """The form's recording in chunks."""
    sound = await read_apart(form.pop("audio"), max_duration_s=MAX_BENCHMARK_S, as_heard=True)
    return as_chunks(sound.samples[0])


async def _decodable(user_id: str, wanted: schemas.BenchmarkRequest) -> Sequence[AudioChunk]:
    """The chunk of the record. Decoded here, so that bad audio counts against no model."""
    chunk = audio_request(WireAudio("benchmark", user_id, wanted.audio_chunk)).chunk
    await asyncio.to_thread(AudioDecoder().decode, chunk)
    return [chunk]


def _result(result: BenchmarkResult) -> schemas.BenchmarkResult:
    peak_mb = result.gpu_memory_peak_mb
    return schemas.BenchmarkResult(
        model=result.model.value,
        test_duration_ms=round(result.test_duration_ms, 1),
        frames_generated=result.frames_generated,
        average_latency_ms=round(result.average_latency_ms, 3),
        max_latency_ms=round(result.max_latency_ms, 3),
        min_latency_ms=round(result.min_latency_ms, 3),
        quality_score=result.quality_score,
        gpu_memory_peak_mb=None if peak_mb is None else round(peak_mb, 1),
        is_recommended=result.is_recommended,
    )
