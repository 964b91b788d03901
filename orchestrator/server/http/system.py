"""Health, readiness, metrics and the OpenAPI document."""

from __future__ import annotations

from aiohttp import web

from orchestrator.models import ADAPTERS
from orchestrator.server.http import schemas as answers
from orchestrator.server.http.context import (
    CONFIG,
    DESCRIPTION,
    SERVICE,
    START,
    SWITCHBOARD,
    answer,
)


async def healthz(request: web.Request) -> web.Response:
    """Alive."""
    return answer(answers.Alive("alive"))


async def readyz(request: web.Request) -> web.Response:
    """200 while new sessions are accepted, with whatever model; 503 at the start and while the
    instance drains.
    """
    app, model = request.app, request.app[CONFIG].default_model
    degraded = [] if await app[SERVICE].pipeline.choice.available(model) else [model.value]
    if app[SWITCHBOARD].drain.is_on:
        return answer(answers.Ready(False, "DRAINING", degraded), 503)
    if not app[START].is_over(is_whole=not degraded):
        return answer(answers.Ready(False, "STARTING", degraded), 503)
    return answer(answers.Ready(True, degraded=degraded))


async def metrics(request: web.Request) -> web.Response:
    """Prometheus text format."""
    service = request.app[SERVICE]
    for model in ADAPTERS:
        service.metrics.model_available.labels(model.value).set(
            await service.pipeline.choice.available(model)
        )
    return web.Response(
        body=service.metrics.render(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI document."""
    return web.Response(body=request.app[DESCRIPTION], content_type="application/json")
