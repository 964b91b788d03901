"""Route table of the HTTP server."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from orchestrator.server.http import schemas
from orchestrator.server.http.benchmark import benchmark
from orchestrator.server.http.context import DESCRIPTION, SWITCHBOARD
from orchestrator.server.http.faces import delete_face, enrol, get_face, list_faces, preview
from orchestrator.server.http.models import health, model_performance, models
from orchestrator.server.http.openapi import document
from orchestrator.server.http.render import render
from orchestrator.server.http.request_schemas import (
    BENCHMARK_EXAMPLE,
    PHOTO_FORM,
    RECORDING_FORM,
    RENDER_FORM,
    ROUTING_KEY,
)
from orchestrator.server.http.route import (
    Content,
    Handler,
    Outcome,
    Route,
    binary_content,
    form_content,
    json_content,
    text_content,
)
from orchestrator.server.http.static_files import page, page_file
from orchestrator.server.http.system import healthz, metrics, openapi, readyz
from orchestrator.server.http.websocket_upgrade import websocket

FACES: Final = "/v1/users/{userId}/face-models"
FACE: Final = FACES + "/{faceModelId}"

RECORDING_ERRORS: Final = frozenset({404, 408, 413, 422, 503, 504})
"""Errors of the routes that read a recording and generate frames for it."""

BENCHMARK_BODY: Final[Content] = {
    **form_content(RECORDING_FORM, "audio"),
    "application/json": {"schema": schemas.BenchmarkRequest, "example": BENCHMARK_EXAMPLE},
}


def _ok(content: Content) -> tuple[Outcome, ...]:
    return (Outcome(content=content),)


def _get(path: str, handler: Handler, summary: str, content: Content, **more: Any) -> Route:
    """A GET route with one outcome, 200."""
    return Route(
        method="GET", path=path, handler=handler, summary=summary, outcomes=_ok(content), **more
    )


SYSTEM_ROUTES: Final = (
    _get("/", page, "The demo page", text_content("text/html")),
    _get(
        "/demo/{file:.+}",
        page_file,
        "A file of the demo page",
        binary_content("*/*"),
        errors=frozenset({404}),
    ),
    _get("/healthz", healthz, "Liveness of the process", json_content(schemas.Alive)),
    Route(
        method="GET",
        path="/readyz",
        handler=readyz,
        summary="Readiness: new sessions are accepted",
        outcomes=(
            Outcome(content=json_content(schemas.Ready)),
            Outcome(
                status=503,
                description="The service starts or shuts down",
                content=json_content(schemas.Ready),
            ),
        ),
    ),
    _get("/metrics", metrics, "Prometheus metrics", text_content("text/plain")),
    _get(
        "/v1/openapi.json",
        openapi,
        "This OpenAPI document",
        json_content({"type": "object", "required": ["openapi", "paths"]}),
    ),
    Route(
        method="GET",
        path="/v1/ws",
        handler=websocket,
        summary="The WebSocket of live sessions",
        outcomes=(
            Outcome(
                status=101,
                description="The socket is open; `lipsync.binary.v1` is offered as subprotocol",
            ),
        ),
        errors=frozenset({503}),
        parameters=ROUTING_KEY,
    ),
)

MODEL_ROUTES: Final = (
    _get(
        "/v1/health",
        health,
        "Sessions, capacity, and each model's availability and latency",
        json_content(schemas.Health),
    ),
    _get(
        "/v1/models",
        models,
        "All models with their requirements",
        json_content(schemas.Models),
    ),
    _get(
        "/v1/models/{name}/performance",
        model_performance,
        "Latency, success rate and quality of a model over its recent batches",
        json_content(schemas.ModelPerformance),
        errors=frozenset({404}),
    ),
)

MEDIA_ROUTES: Final = (
    Route(
        method="POST",
        path="/v1/render",
        handler=render,
        summary="Render a recording to an MP4 with sound",
        outcomes=(
            Outcome(
                description="H.264 and AAC; the metadata marks the film as synthetic",
                content=binary_content("video/mp4"),
            ),
        ),
        errors=RECORDING_ERRORS,
        body=form_content(RENDER_FORM, "audio"),
        is_long=True,
    ),
    Route(
        method="POST",
        path="/v1/benchmark",
        handler=benchmark,
        summary="Measure every model that the face supports on one recording",
        outcomes=_ok(json_content(schemas.Benchmark)),
        errors=RECORDING_ERRORS,
        body=BENCHMARK_BODY,
        is_long=True,
    ),
)

FACE_ROUTES: Final = (
    _get(
        FACES,
        list_faces,
        "Ids of a user's face models",
        json_content(schemas.FaceModels),
        errors=frozenset({503}),
    ),
    Route(
        method="POST",
        path=FACES,
        handler=enrol,
        summary="Enrol a photo as a face model",
        outcomes=(
            Outcome(
                status=201,
                description="The face model",
                content=json_content(schemas.FaceModel),
            ),
        ),
        errors=frozenset({408, 422, 503}),
        body=form_content(PHOTO_FORM, "photo", "consent"),
        is_long=True,
    ),
    _get(
        FACE,
        get_face,
        "One face model",
        json_content(schemas.FaceModelDetails),
        errors=frozenset({404, 422, 503}),
    ),
    Route(
        method="DELETE",
        path=FACE,
        handler=delete_face,
        summary="Delete a face model",
        outcomes=(
            Outcome(status=204, description="The face and everything derived from it are deleted"),
        ),
        errors=frozenset({404, 503}),
    ),
    _get(
        FACE + "/preview.jpg",
        preview,
        "The face's neutral pose as a picture",
        binary_content("image/jpeg"),
        errors=frozenset({404, 422, 503}),
    ),
)

ROUTES: Final = (*SYSTEM_ROUTES, *MODEL_ROUTES, *MEDIA_ROUTES, *FACE_ROUTES)


def add_routes(app: web.Application) -> None:
    """Add every route of the table, and the OpenAPI document made from it."""
    app[DESCRIPTION] = msgspec.json.encode(document(ROUTES))
    for route in ROUTES:
        handler = _long(route.handler) if route.is_long else route.handler
        app.router.add_routes([web.route(route.method, route.path, handler)])


def _long(handler: Handler) -> Handler:
    """Count the request as work in progress: a draining instance refuses it, or waits for it if it
    began earlier.
    """

    async def counted(request: web.Request) -> web.StreamResponse:
        with request.app[SWITCHBOARD].drain.work():
            return await handler(request)

    return counted
