"""The one place that builds objects and joins them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import cv2
from aiohttp import WSCloseCode, web

from orchestrator.auth import authenticator_of
from orchestrator.capacity import measure, until_measured
from orchestrator.config import ServiceConfig
from orchestrator.first_faces import FirstFaces
from orchestrator.gate import AUTHENTICATOR, known_callers, name_allowed_origins
from orchestrator.http import add_routes
from orchestrator.http_context import (
    ALONE,
    BENCHMARKS,
    CONFIG,
    MEASURED,
    RENDERS,
    SERVICE,
    SHARE,
    SOCKETS,
    Share,
)
from orchestrator.http_errors import errors_as_json
from orchestrator.http_uploads import MAX_BODY_BYTES, UPLOADS, Uploads
from orchestrator.licences import check_models
from orchestrator.models import ADAPTERS
from orchestrator.service import LipSyncService, OpenInference
from orchestrator.switchboard import SWITCHBOARD, Switchboard

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT_S = 5.0

CAPACITY_AFTER_S = 3.0
"""The probe waits this long: at the start everything is busy."""


def build_app(config: ServiceConfig, open_inference: OpenInference, share: Share = ALONE) -> web.Application:
    """The whole service as an aiohttp application."""
    check_models(config, ADAPTERS, chain_is_named=False)
    app = web.Application(middlewares=[errors_as_json, known_callers], client_max_size=MAX_BODY_BYTES)
    app[CONFIG] = config
    app[AUTHENTICATOR] = authenticator_of(config)
    # Its part of the sessions; not of a user's, which may all be on one connection.
    own = replace(config, max_concurrent_sessions=share.of(config.max_concurrent_sessions))
    app[SERVICE] = LipSyncService(config=own, open_inference=open_inference)
    app[SWITCHBOARD] = Switchboard(app[SERVICE])
    app[SOCKETS] = set()
    app[MEASURED] = []
    app[SHARE] = share
    app[UPLOADS] = Uploads()
    app[RENDERS] = asyncio.Semaphore(config.max_renders)
    app[BENCHMARKS] = asyncio.Semaphore(1)
    app.cleanup_ctx.append(_service)
    app.on_response_prepare.append(name_allowed_origins)
    app.on_shutdown.append(_close_sockets)
    add_routes(app)
    return app


async def _service(app: web.Application) -> AsyncIterator[None]:
    first = FirstFaces(app[SERVICE])
    async with _beside(first.solve()) as solved, app[SERVICE] as service:
        await solved
        await first.introduce()
        _warn_of_random_weights(service)
        tasks = [
            asyncio.create_task(service.pipeline.probe_failed_models(), name="probe failed models"),
            asyncio.create_task(first.prepare_others(), name="prepare faces"),
            *([asyncio.create_task(_measure_capacity(app), name="measure capacity")] if app[CONFIG].capacity_probe else []),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await app[SWITCHBOARD].close()


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Work that goes on while the server starts, and ends at the latest with the service."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def serving(config: ServiceConfig, open_inference: OpenInference, share: Share = ALONE) -> AsyncIterator[int]:
    """The service, listening; yields its port, which several workers share."""
    cv2.setNumThreads(1)
    runner = web.AppRunner(build_app(config, open_inference, share), access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port, reuse_port=share.workers > 1)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _warn_of_random_weights(service: LipSyncService) -> None:
    for model in ADAPTERS:
        if warning := service.pipeline.weights_warning(model):
            logger.warning("model %s: %s", model.value, warning)


async def _measure_capacity(app: web.Application) -> None:
    """Once the default model answers and the start is over; until then the configured limit alone counts."""
    service, model = app[SERVICE], app[CONFIG].default_model
    share = app[SHARE]
    await asyncio.sleep(CAPACITY_AFTER_S * (1 + share.number))  # one worker after another: each probe would count in the others
    capacity = await until_measured(
        lambda: service.pipeline.choice.available(model), lambda: measure(service.adapters[model], service.faces, service.video)
    )
    app[MEASURED].append(capacity)
    service.sessions.carries = max(1, capacity.faces // share.workers)
    service.metrics.capacity_faces.set(service.sessions.carries)
    text = "%d faces can speak at once: %.1f ms of %g cores a frame at %g frames a second"
    logger.info(text, capacity.faces, capacity.cpu_ms_per_frame, capacity.cores, capacity.fps)


async def _close_sockets(app: web.Application) -> None:
    sockets = app[SOCKETS]
    for socket in list(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the service is shutting down")
