"""Liveness, readiness, metrics and the OpenAPI document."""

from __future__ import annotations

from aiohttp import web

from orchestrator.models import ADAPTERS
from orchestrator.server.http import schemas
from orchestrator.server.http.context import (
    CONFIG,
    DESCRIPTION,
    SERVICE,
    START,
    SWITCHBOARD,
    json_response,
)


async def healthz(request: web.Request) -> web.Response:
    """Liveness: 200 as long as the process runs."""
    return json_response(schemas.Alive("alive"))


async def readyz(request: web.Request) -> web.Response:
    """Readiness: 200 while new sessions are accepted, with any model.

    503 during the start, and during graceful shutdown.
    """
    app, model = request.app, request.app[CONFIG].default_model
    degraded = [] if await app[SERVICE].models.available(model) else [model.value]
    if app[SWITCHBOARD].drain.is_on:
        return json_response(schemas.Ready(False, "DRAINING", degraded), 503)
    if not app[START].is_over(is_whole=not degraded):
        return json_response(schemas.Ready(False, "STARTING", degraded), 503)
    return json_response(schemas.Ready(True, degraded=degraded))


async def metrics(request: web.Request) -> web.Response:
    """Metrics in Prometheus text format."""
    service = request.app[SERVICE]
    for model in ADAPTERS:
        service.metrics.model_available.labels(model.value).set(
            await service.models.available(model)
        )
    return web.Response(
        body=service.metrics.render(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI document."""
    return web.Response(body=request.app[DESCRIPTION], content_type="application/json")
