"""The one place that builds objects and joins them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import cv2
from aiohttp import web

from orchestrator.core.config import ServiceConfig
from orchestrator.models import ADAPTERS
from orchestrator.pipeline.capacity_probe import is_measured, measure, until_measured
from orchestrator.pipeline.licence_policy import check_models
from orchestrator.server.auth import authenticator_of
from orchestrator.server.http.access import AUTHENTICATOR, known_callers, name_allowed_origins
from orchestrator.server.http.context import (
    BENCHMARKS,
    CONFIG,
    MEASURED,
    RENDERS,
    SERVICE,
    START,
    SWITCHBOARD,
    Start,
)
from orchestrator.server.http.errors import errors_as_json
from orchestrator.server.http.routes import add_routes
from orchestrator.server.http.uploads import MAX_BODY_BYTES, UPLOADS, Uploads
from orchestrator.sessions.directory import Switchboard
from orchestrator.sessions.drain import Drain
from orchestrator.sessions.first_faces import FirstFaces
from orchestrator.sessions.service import LipSyncService, OpenInference

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT_S = 5.0

CAPACITY_AFTER_S = 3.0
"""The probe waits this long: at the start everything is busy."""


def build_app(
    config: ServiceConfig, open_inference: OpenInference | None = None
) -> web.Application:
    """The whole service as an aiohttp application.

    Without `open_inference` the networks run in the Tritons of the configuration, or in this
    process.
    """
    check_models(config, ADAPTERS, chain_is_named=False)
    app = web.Application(
        middlewares=[errors_as_json, known_callers], client_max_size=MAX_BODY_BYTES
    )
    app[CONFIG] = config
    app[AUTHENTICATOR] = authenticator_of(config)
    app[SERVICE] = LipSyncService(config=config, open_inference=open_inference)
    app[SWITCHBOARD] = Switchboard(app[SERVICE])
    app[MEASURED] = []
    app[START] = Start()
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
            *(
                [asyncio.create_task(_measure_capacity(app), name="measure capacity")]
                if is_measured(app[CONFIG])
                else []
            ),
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


@dataclass(frozen=True, slots=True)
class Listening:
    """A service that takes connections."""

    port: int
    drain: Drain


@asynccontextmanager
async def serving(
    config: ServiceConfig, open_inference: OpenInference | None = None
) -> AsyncIterator[Listening]:
    """The service, until the block is left; what is under way by then is cut."""
    cv2.setNumThreads(1)
    app = build_app(config, open_inference)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port)
        await site.start()
        yield Listening(runner.addresses[0][1], app[SWITCHBOARD].drain)
    finally:
        await runner.cleanup()


def _warn_of_random_weights(service: LipSyncService) -> None:
    for model in ADAPTERS:
        if warning := service.pipeline.weights_warning(model):
            logger.warning("model %s: %s", model.value, warning)


async def _measure_capacity(app: web.Application) -> None:
    """Once the default model answers and the start is over; until then the configured limit alone
    counts.
    """
    service, model = app[SERVICE], app[CONFIG].default_model
    await asyncio.sleep(CAPACITY_AFTER_S)
    capacity = await until_measured(
        lambda: service.pipeline.choice.available(model),
        lambda: measure(service.adapters[model], service.faces, service.video),
    )
    app[MEASURED].append(capacity)
    service.sessions.carries = max(1, capacity.faces)
    service.metrics.capacity_faces.set(service.sessions.carries)
    text = "%d faces can speak at once: %.1f ms of %g cores a frame at %g frames a second"
    logger.info(text, capacity.faces, capacity.cpu_ms_per_frame, capacity.cores, capacity.fps)


async def _close_sockets(app: web.Application) -> None:
    await app[SWITCHBOARD].drain.send_all_away()
