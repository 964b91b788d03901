"""The one place that builds objects and joins them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from aiohttp import WSCloseCode, web

from orchestrator.config import ServiceConfig
from orchestrator.face.service import FaceModelCacheService
from orchestrator.face.store import open_store
from orchestrator.gate import AUTHENTICATOR, authenticator_of, known_callers
from orchestrator.http import (
    CONFIG,
    FACES,
    MAX_FORM_BYTES,
    MAX_UPLOADS,
    METRICS,
    SERVICE,
    SESSIONS,
    SOCKETS,
    STORE,
    UPLOADS,
    add_routes,
    errors_as_json,
)
from orchestrator.inference import Inference
from orchestrator.inference.repository import read_repository
from orchestrator.inference.timed import TimedInference
from orchestrator.inference.weights import WeightsRegister
from orchestrator.licences import check_models
from orchestrator.metrics import Metrics
from orchestrator.models import ADAPTERS
from orchestrator.service import LipSyncService
from orchestrator.session import SessionRegistry
from orchestrator.streaming.service import VideoStreamingService
from orchestrator.types import LipSyncModel
from orchestrator.video.service import VideoGeneratorService

logger = logging.getLogger(__name__)

OpenInference: TypeAlias = Callable[[], AbstractAsyncContextManager[Inference]]
"""Opens the inference for the application's life: a Triton, or this process."""

SHUTDOWN_TIMEOUT_S = 5.0

DEMO_USER = DEMO_FACE = "demo"
"""The shipped portrait."""


def build_app(config: ServiceConfig, open_inference: OpenInference) -> web.Application:
    """The whole service as an aiohttp application."""
    check_models(config, ADAPTERS, chain_is_named=False)
    app = web.Application(middlewares=[errors_as_json, known_callers], client_max_size=MAX_FORM_BYTES)
    app[CONFIG] = config
    app[METRICS] = Metrics()
    app[AUTHENTICATOR] = authenticator_of(config)
    app[SESSIONS] = SessionRegistry(config.max_concurrent_sessions, config.max_sessions_per_user)
    app[SOCKETS] = set()
    app[UPLOADS] = asyncio.Semaphore(MAX_UPLOADS)
    app[STORE] = open_store(config.storage, config.bucket)
    app[FACES] = build_faces(config, app)
    app.cleanup_ctx.append(lambda app: _service(app, open_inference))
    app.on_shutdown.append(_close_sockets)
    add_routes(app)
    return app


def build_faces(config: ServiceConfig, app: web.Application) -> FaceModelCacheService:
    """The face cache; half of the budget is for photos, half for what models derive from them."""
    half_bytes = config.face_cache_mb * 1024 * 1024 // 2
    return FaceModelCacheService(
        app[STORE],
        max_faces=config.face_model_cache_size,
        max_face_bytes=half_bytes,
        max_derived=4 * config.face_model_cache_size,
        max_derived_bytes=half_bytes,
        encoding_deadline_s=config.face_encoding_deadline_ms / 1000.0,
    )


async def _service(app: web.Application, open_inference: OpenInference) -> AsyncIterator[None]:
    async with open_inference() as inference:
        video = VideoGeneratorService(TimedInference(inference, app[METRICS]))
        weights = WeightsRegister(read_repository(app[CONFIG].model_repository))
        service = LipSyncService(app[CONFIG], ADAPTERS, app[FACES], video, VideoStreamingService(), app[METRICS], weights)
        _warn_of_random_weights(service)
        app[SERVICE] = service
        tasks = [
            asyncio.create_task(service.probe_failed_models(), name="probe failed models"),
            asyncio.create_task(_prepare_demo_face(app), name="prepare the demo face"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await service.close()


def _warn_of_random_weights(service: LipSyncService) -> None:
    for model in ADAPTERS:
        if warning := service.weights_warning(model):
            logger.warning("model %s: %s", model.value, warning)


async def _prepare_demo_face(app: web.Application) -> None:
    """The face that most visitors see first should not make them wait."""
    face = await app[FACES].load_face_model(DEMO_USER, DEMO_FACE)
    for size in (256, 512):
        await app[SERVICE].prepare_face(face, (app[CONFIG].default_model, LipSyncModel.STATIC), size)


async def _close_sockets(app: web.Application) -> None:
    sockets = app[SOCKETS]
    for socket in list(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the service is shutting down")
