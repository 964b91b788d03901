"""The HTTP side: health, metrics, models, faces and the page."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

import msgspec
import simplejpeg
from aiohttp import BodyPartReader, web

from orchestrator import wire
from orchestrator.config import ServiceConfig
from orchestrator.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.face.enrolment import enrol_photo
from orchestrator.gate import caller_of, check_origin
from orchestrator.inference.weights import Weights
from orchestrator.models import ADAPTERS
from orchestrator.service import LipSyncService
from orchestrator.types import FaceModel, LipSyncModel
from orchestrator.websocket import Connection

logger = logging.getLogger(__name__)

CONFIG: Final = web.AppKey("config", ServiceConfig)
SERVICE: Final = web.AppKey("service", LipSyncService)
SOCKETS: Final[web.AppKey[set[web.WebSocketResponse]]] = web.AppKey("sockets", set)

UPLOADS: Final = web.AppKey("uploads", asyncio.Semaphore)
"""Photos held in memory at once; further uploads wait in their sockets."""

MAX_UPLOADS: Final = 4

FIRST_SIZE: Final = 256
"""Picture size for which a new face is prepared at once: the wire's default."""

PAGE: Final = Path(__file__).parent / "demo" / "page"

MAX_PHOTO_BYTES: Final = 20 * 1024 * 1024
MAX_FORM_BYTES: Final = MAX_PHOTO_BYTES + 64 * 1024

HEARTBEAT_S: Final = 20.0
"""WebSocket pings; a client that does not answer is gone."""

STATUS_OF: Final[dict[LipSyncErrorCode, int]] = {
    LipSyncErrorCode.FACE_MODEL_NOT_FOUND: 404,
    LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE: 422,
    LipSyncErrorCode.AUDIO_PROCESSING_FAILED: 422,
    LipSyncErrorCode.INVALID_MESSAGE: 400,
    LipSyncErrorCode.UNAUTHORIZED: 403,
    LipSyncErrorCode.SESSION_LIMIT: 503,
    LipSyncErrorCode.TIMEOUT: 504,
}
"""HTTP status of each code; the others are 500."""


@web.middleware
async def errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    """A `LipSyncError` becomes the same object that the WebSocket sends, under a fitting status."""
    try:
        response: web.StreamResponse = await handler(request)
    except LipSyncError as error:
        request.app[SERVICE].metrics.errors_total.labels(error.code.value).inc()
        body = msgspec.json.encode(wire.error_message(error, None))
        if error.details.get("field") == "authorization":
            return web.Response(body=body, status=401, content_type="application/json", headers={"WWW-Authenticate": "Bearer"})
        return web.Response(body=body, status=STATUS_OF.get(error.code, 500), content_type="application/json")
    return response


async def healthz(request: web.Request) -> web.Response:
    """Alive."""
    return web.json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """200 once the default model answers, 503 before and while only the last resort is left."""
    ready = await request.app[SERVICE].pipeline.choice.available(request.app[CONFIG].default_model)
    return web.json_response({"ready": ready}, status=200 if ready else 503)


async def metrics(request: web.Request) -> web.Response:
    """Prometheus text format."""
    app = request.app
    for model in ADAPTERS:
        app[SERVICE].metrics.model_available.labels(model.value).set(await app[SERVICE].pipeline.choice.available(model))
    return web.Response(body=app[SERVICE].metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def health(request: web.Request) -> web.Response:
    """Sessions, and each model's availability and latency."""
    app = request.app
    models = {model.value: {**await _standing(app, model), **_performance(app, model)} for model in ADAPTERS}
    status = "healthy" if models[app[CONFIG].default_model.value]["available"] else "degraded"
    return web.json_response({"status": status, "activeSessions": len(app[SERVICE].sessions), "models": models})


async def models(request: web.Request) -> web.Response:
    """Every model with what it needs."""
    app = request.app
    return web.json_response({"models": [await _model(app, model) for model in ADAPTERS]})


async def model_performance(request: web.Request) -> web.Response:
    """How one model fared over its recent batches."""
    name = request.match_info["name"]
    if name not in {model.value for model in ADAPTERS}:
        raise web.HTTPNotFound(text=f"no model {name!r}")
    return web.json_response({"model": name, **_performance(request.app, LipSyncModel(name))})


async def enrol(request: web.Request) -> web.Response:
    """Multipart `photo`, `consent=true` and optionally `id`: a new face model, or 422 with reasons."""
    async with request.app[UPLOADS]:
        face = await _enrol(request)
    await request.app[SERVICE].pipeline.prepare_face(face, (request.app[CONFIG].default_model, LipSyncModel.STATIC), FIRST_SIZE)
    return web.json_response(_face(face), status=201)


async def _enrol(request: web.Request) -> FaceModel:
    form = await _read_form(request)
    photo = form.get("photo")
    if not photo:
        raise invalid_field("photo", "is missing; send the picture as the multipart field `photo`")
    return await enrol_photo(
        photo,
        user_id=request.match_info["user"],
        face_id=form["id"].decode(errors="replace") if "id" in form else None,
        store=request.app[SERVICE].store,
        consent=form.get("consent", b"").decode(errors="replace") == "true",
    )


async def list_faces(request: web.Request) -> web.Response:
    """Ids of a user's face models."""
    ids = await request.app[SERVICE].faces.list_face_models(request.match_info["user"])
    return web.json_response({"faceModels": list(ids)})


async def get_face(request: web.Request) -> web.Response:
    """One face model's description."""
    face = await _load(request)
    compatibility = request.app[SERVICE].faces.validate_compatibility(face)
    models = [model.value for model in compatibility.compatible_lip_sync_models]
    issues = [{"code": issue.code, "message": issue.message} for issue in compatibility.issues]
    return web.json_response(_face(face) | {"compatibleLipSyncModels": models, "issues": issues})


async def delete_face(request: web.Request) -> web.Response:
    """Remove a face model."""
    await request.app[SERVICE].faces.delete_face_model(request.match_info["user"], request.match_info["face"])
    return web.Response(status=204)


async def preview(request: web.Request) -> web.Response:
    """The neutral pose as JPEG."""
    face = await _load(request)
    return web.Response(body=simplejpeg.encode_jpeg(face.neutral_pose, 90, "RGB"), content_type="image/jpeg")


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """`GET /v1/ws`."""
    app = request.app
    check_origin(request, app[CONFIG].allowed_origins)
    # Compression would cost up to a hundred times the send itself, for data that is compressed already.
    socket = web.WebSocketResponse(
        max_msg_size=wire.MAX_MESSAGE_BYTES, compress=False, heartbeat=HEARTBEAT_S, protocols=(wire.BINARY_SUBPROTOCOL,)
    )
    await socket.prepare(request)
    app[SOCKETS].add(socket)
    try:
        await Connection(socket, app[SERVICE], app[SERVICE].sessions, app[SERVICE].metrics, app[CONFIG], caller_of(request)).run()
    except* ConnectionError:
        logger.info("a client went away")
    finally:
        app[SOCKETS].discard(socket)
    return socket


async def page(request: web.Request) -> web.FileResponse:
    """The demo page."""
    return web.FileResponse(PAGE / "index.html")


def add_routes(app: web.Application) -> None:
    """Every path of the service."""
    user = "/v1/users/{user}/face-models"
    app.add_routes(
        [
            web.get("/", page),
            web.static("/demo", PAGE),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/v1/ws", websocket),
            web.get("/v1/health", health),
            web.get("/v1/models", models),
            web.get("/v1/models/{name}/performance", model_performance),
            web.get(user, list_faces),
            web.post(user, enrol),
            web.get(user + "/{face}", get_face),
            web.delete(user + "/{face}", delete_face),
            web.get(user + "/{face}/preview.jpg", preview),
        ]
    )


async def _read_form(request: web.Request) -> dict[str, bytes]:
    if not request.content_type.startswith("multipart/"):
        raise invalid_field("photo", "is missing; send a multipart form with the fields `photo` and `consent`")
    form: dict[str, bytes] = {}
    async for part in await request.multipart():
        if isinstance(part, BodyPartReader) and part.name in ("photo", "consent", "id"):
            form[part.name] = await _read_part(part)
    return form


async def _read_part(part: BodyPartReader) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(65536):
        data += chunk
        if len(data) > MAX_PHOTO_BYTES:
            raise invalid_field(part.name or "photo", f"is larger than {MAX_PHOTO_BYTES // 2**20} MiB; send a smaller picture")
    return bytes(data)


async def _load(request: web.Request) -> FaceModel:
    return await request.app[SERVICE].faces.load_face_model(request.match_info["user"], request.match_info["face"])


def _face(face: FaceModel) -> dict[str, Any]:
    return {
        "id": face.id,
        "userId": face.user_id,
        "qualityScore": face.quality_score,
        "resolution": {"width": face.resolution.width, "height": face.resolution.height},
        "createdAt": face.created_at,
    }


async def _model(app: web.Application, model: LipSyncModel) -> dict[str, Any]:
    spec = ADAPTERS[model].spec
    return {
        "name": model.value,
        **await _standing(app, model),
        "isDefault": model is app[CONFIG].default_model,
        "lookAheadMs": round(spec.look_ahead_ms, 1) if spec.triton_models else 0,
        "minResolution": spec.min_size,
        "tritonModels": list(spec.triton_models),
        "licence": {"code": spec.licences.code, "weights": spec.licences.weights, "commercialUse": spec.licences.commercial},
        "permitted": not app[SERVICE].pipeline.choice.why_refused(model),
        "networks": [_weights(weights) for weights in app[SERVICE].pipeline.weights(model)],
    }


async def _standing(app: web.Application, model: LipSyncModel) -> dict[str, Any]:
    """Whether sessions may use the model, and what has to be said with its name."""
    pipeline = app[SERVICE].pipeline
    said = {"weights": pipeline.weights_warning(model), "refused": pipeline.choice.why_refused(model)}
    return {"available": await pipeline.choice.available(model), **{key: text for key, text in said.items() if text}}


def _weights(weights: Weights) -> dict[str, Any]:
    return {
        "name": weights.network,
        "weights": weights.label or None,
        "origin": weights.origin or None,
        "licence": weights.licence or None,
        "sha256": list(weights.sha256),
    }


def _performance(app: web.Application, model: LipSyncModel) -> dict[str, Any]:
    figures = app[SERVICE].pipeline.performance.performance(model)
    return {
        "averageLatencyMs": round(figures.average_latency_ms, 2),
        "p95LatencyMs": round(figures.p95_latency_ms, 2),
        "p99LatencyMs": round(figures.p99_latency_ms, 2),
        "successRate": round(figures.success_rate, 4),
        "framesPerSecond": round(figures.frames_per_second, 1),
    }
