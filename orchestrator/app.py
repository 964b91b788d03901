"""The one place that builds objects and joins them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import WSCloseCode, web

from orchestrator import wire
from orchestrator.config import ServiceConfig
from orchestrator.gate import AUTHENTICATOR, authenticator_of, known_callers
from orchestrator.http import (
    CONFIG,
    MAX_FORM_BYTES,
    MAX_UPLOADS,
    SERVICE,
    SOCKETS,
    UPLOADS,
    add_routes,
    errors_as_json,
)
from orchestrator.licences import check_models
from orchestrator.models import ADAPTERS
from orchestrator.service import LipSyncService, OpenInference
from orchestrator.types import LipSyncModel

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT_S = 5.0

DEMO_USER = DEMO_FACE = "demo"
"""The shipped portrait."""


def build_app(config: ServiceConfig, open_inference: OpenInference) -> web.Application:
    """The whole service as an aiohttp application."""
    check_models(config, ADAPTERS, chain_is_named=False)
    app = web.Application(middlewares=[errors_as_json, known_callers], client_max_size=MAX_FORM_BYTES)
    app[CONFIG] = config
    app[AUTHENTICATOR] = authenticator_of(config)
    app[SERVICE] = LipSyncService(config=config, open_inference=open_inference, message_of=wire.frame_text)
    app[SOCKETS] = set()
    app[UPLOADS] = asyncio.Semaphore(MAX_UPLOADS)
    app.cleanup_ctx.append(_service)
    app.on_shutdown.append(_close_sockets)
    add_routes(app)
    return app


async def _service(app: web.Application) -> AsyncIterator[None]:
    async with app[SERVICE] as service:
        _warn_of_random_weights(service)
        tasks = [
            asyncio.create_task(service.pipeline.probe_failed_models(), name="probe failed models"),
            asyncio.create_task(_prepare_demo_face(app), name="prepare the demo face"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _warn_of_random_weights(service: LipSyncService) -> None:
    for model in ADAPTERS:
        if warning := service.pipeline.weights_warning(model):
            logger.warning("model %s: %s", model.value, warning)


async def _prepare_demo_face(app: web.Application) -> None:
    """The face that most visitors see first should not make them wait."""
    face = await app[SERVICE].faces.load_face_model(DEMO_USER, DEMO_FACE)
    for size in (256, 512):
        await app[SERVICE].pipeline.prepare_face(face, (app[CONFIG].default_model, LipSyncModel.STATIC), size)


async def _close_sockets(app: web.Application) -> None:
    sockets = app[SOCKETS]
    for socket in list(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the service is shutting down")
