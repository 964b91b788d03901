"""Route table of the HTTP server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from orchestrator.server.http.context import SWITCHBOARD
from orchestrator.server.http.faces import delete_face, enrol, get_face, list_faces, preview
from orchestrator.server.http.media import benchmark, render
from orchestrator.server.http.models import health, model_performance, models
from orchestrator.server.http.static_files import page, page_file
from orchestrator.server.http.system import healthz, metrics, openapi, readyz
from orchestrator.server.http.websocket_upgrade import websocket


def _long(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The same handler; an instance that shuts down refuses the request, or waits for it where it
    began before.
    """

    async def waited_for(request: web.Request) -> web.StreamResponse:
        with request.app[SWITCHBOARD].drain.work():
            return await handler(request)

    return waited_for


def add_routes(app: web.Application) -> None:
    """Every path of the service."""
    user = "/v1/users/{user}/face-models"
    app.add_routes(
        [
            web.get("/", page),
            web.get("/demo/{file:.+}", page_file),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/v1/openapi.json", openapi),
            web.get("/v1/ws", websocket),
            web.get("/v1/health", health),
            web.get("/v1/models", models),
            web.get("/v1/models/{name}/performance", model_performance),
            web.post("/v1/benchmark", _long(benchmark)),
            web.post("/v1/render", _long(render)),
            web.get(user, list_faces),
            web.post(user, _long(enrol)),
            web.get(user + "/{face}", get_face),
            web.delete(user + "/{face}", delete_face),
            web.get(user + "/{face}/preview.jpg", preview),
        ]
    )
