"""Composition root of the server: builds the application, runs it, and shuts it down."""

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
from orchestrator.server.http.access import AUTHENTICATOR, add_cors_headers, authenticate
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
from orchestrator.sessions.drain import Drain
from orchestrator.sessions.first_faces import FirstFaces
from orchestrator.sessions.service import LipSyncService, OpenInference

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT_S = 5.0
"""Longest wait for open requests when the server stops, in seconds."""

CAPACITY_AFTER_S = 3.0
"""Delay of the capacity probe: during the start the machine is busy."""


def build_app(
    config: ServiceConfig, open_inference: OpenInference | None = None
) -> web.Application:
    """The whole service as an aiohttp application.

    Without `open_inference` the networks run in the Tritons of the configuration, or in this
    process.
    """
    check_models(config, ADAPTERS, chain_is_named=False)
    app = web.Application(
        middlewares=[errors_as_json, authenticate], client_max_size=MAX_BODY_BYTES
    )
    app[CONFIG] = config
    app[AUTHENTICATOR] = authenticator_of(config)
    app[SERVICE] = LipSyncService(config=config, open_inference=open_inference)
    app[SWITCHBOARD] = app[SERVICE].sessions
    app[MEASURED] = []
    app[START] = Start()
    app[UPLOADS] = Uploads()
    app[RENDERS] = asyncio.Semaphore(config.max_renders)
    app[BENCHMARKS] = asyncio.Semaphore(1)
    app.cleanup_ctx.append(_service)
    app.on_response_prepare.append(add_cors_headers)
    app.on_shutdown.append(_close_sockets)
    add_routes(app)
    return app


async def _service(app: web.Application) -> AsyncIterator[None]:
    first = FirstFaces(app[SERVICE])
    async with _in_background(first.solve()) as solved, app[SERVICE] as service:
        await solved
        await first.introduce()
        _warn_of_random_weights(service)
        tasks = _background_tasks(app, first)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await app[SWITCHBOARD].close()


def _background_tasks(app: web.Application, first: FirstFaces) -> list[asyncio.Task[None]]:
    work = {
        "probe failed models": app[SERVICE].pipeline.probe_failed_models(),
        "prepare faces": first.prepare_others(),
    }
    if is_measured(app[CONFIG]):
        work["measure capacity"] = _measure_capacity(app)
    return [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run `work` as a task during the block; cancel it at the end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Listening:
    """A service that accepts connections."""

    port: int
    drain: Drain


@asynccontextmanager
async def serving(
    config: ServiceConfig, open_inference: OpenInference | None = None
) -> AsyncIterator[Listening]:
    """Serve until the block is left; open requests and sessions are cut then."""
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
        if warning := service.models.weights_warning(model):
            logger.warning("model %s: %s", model.value, warning)


async def _measure_capacity(app: web.Application) -> None:
    """Measure the capacity after the start, once the default model is available.

    Until then only the configured limit applies (admission control).
    """
    service, model = app[SERVICE], app[CONFIG].default_model
    await asyncio.sleep(CAPACITY_AFTER_S)
    capacity = await until_measured(
        lambda: service.models.available(model),
        lambda: measure(service.adapters[model], service.faces, service.video),
    )
    app[MEASURED].append(capacity)
    speakers = max(1, capacity.faces)
    service.sessions.limit_speakers(speakers)
    service.metrics.capacity_faces.set(speakers)
    text = "%d faces can speak at once: %.1f ms of %g cores a frame at %g frames a second"
    logger.info(text, capacity.faces, capacity.cpu_ms_per_frame, capacity.cores, capacity.fps)


async def _close_sockets(app: web.Application) -> None:
    await app[SWITCHBOARD].drain.send_all_away()
