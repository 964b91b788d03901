"""Health of the service, requirements of the models, and their performance, over HTTP."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from aiohttp import web

from orchestrator.core.errors import invalid_field
from orchestrator.core.types import LipSyncModel
from orchestrator.inference.weights_provenance import Weights
from orchestrator.models import ADAPTERS
from orchestrator.pipeline.circuit_breaker import ModelPerformance
from orchestrator.server.http import schemas
from orchestrator.server.http.context import CONFIG, MEASURED, SERVICE, json_response
from orchestrator.server.http.errors import error_response
from orchestrator.sessions.service import HealthStatus
from orchestrator.video.generation_metrics import GenerationMetrics


async def health(request: web.Request) -> web.Response:
    """Sessions, capacity, and each model's availability and latency."""
    app, service = request.app, request.app[SERVICE]
    status = await service.get_health_status()
    return json_response(
        schemas.Health(
            status="healthy" if status.is_healthy else "degraded",
            active_sessions=status.active_sessions,
            speaking_sessions=service.sessions.speaking(),
            max_sessions=app[CONFIG].max_concurrent_sessions,
            gpu_available=status.gpu_available,
            capacity=_capacity(app),
            generation=_generation(status.generation),
            models={model.value: _model_health(app, status, model) for model in ADAPTERS},
        )
    )


def _capacity(app: web.Application) -> schemas.Capacity | None:
    if not app[MEASURED]:
        return None
    (measured,) = app[MEASURED]
    faces = app[SERVICE].sessions.capacity or measured.faces
    return schemas.Capacity(
        faces, round(measured.cpu_ms_per_frame, 2), measured.cores, measured.fps
    )


async def models(request: web.Request) -> web.Response:
    """All models with their requirements."""
    return json_response(schemas.Models([await _model(request.app, model) for model in ADAPTERS]))


async def model_performance(request: web.Request) -> web.Response:
    """Latency, success rate and quality of one model over its recent batches."""
    name = request.match_info["name"]
    if name not in {model.value for model in ADAPTERS}:
        error = invalid_field("name", f"no model {name!r}; see `GET /v1/models`")
        return error_response(request, error, 404)
    return json_response(
        _performance(request.app[SERVICE].get_model_performance(LipSyncModel(name)))
    )


def _generation(figures: GenerationMetrics) -> schemas.Generation:
    return schemas.Generation(
        frames_generated=figures.frames_generated,
        frames_dropped=figures.frames_dropped,
        average_generation_time_ms=round(figures.average_generation_time_ms, 2)
        if figures.frames_generated
        else None,
        average_fps=round(figures.average_fps, 1),
        buffer_underruns=figures.buffer_underruns,
        model_switches=figures.model_switches,
    )


def _model_health(
    app: web.Application, status: HealthStatus, model: LipSyncModel
) -> schemas.ModelHealth:
    figures = _performance(status.performance[model])
    return schemas.ModelHealth(
        available=status.available[model],
        average_latency_ms=figures.average_latency_ms,
        p95_latency_ms=figures.p95_latency_ms,
        p99_latency_ms=figures.p99_latency_ms,
        success_rate=figures.success_rate,
        frames_per_second=figures.frames_per_second,
        **_remarks(app, model),
    )


async def _model(app: web.Application, model: LipSyncModel) -> schemas.Model:
    spec, service = ADAPTERS[model].spec, app[SERVICE]
    return schemas.Model(
        name=model.value,
        available=await service.models.available(model),
        is_default=model is app[CONFIG].default_model,
        look_ahead_ms=round(spec.look_ahead_ms, 1) if spec.triton_models else 0,
        min_resolution=spec.min_size,
        triton_models=list(spec.triton_models),
        licence=schemas.Licence(
            spec.licences.code, spec.licences.weights, spec.licences.commercial
        ),
        permitted=not service.models.why_refused(model),
        networks=[_network(weights) for weights in service.models.weights(model)],
        **_remarks(app, model),
    )


def _remarks(app: web.Application, model: LipSyncModel) -> dict[str, str]:
    """Optional fields of a model: a warning of random weights, the reason of a refusal."""
    service = app[SERVICE]
    remarks = {
        "weights": service.models.weights_warning(model),
        "refused": service.models.why_refused(model),
    }
    return {key: text for key, text in remarks.items() if text}


def _network(weights: Weights) -> schemas.Network:
    origin, licence = weights.origin or None, weights.licence or None
    return schemas.Network(
        weights.network, weights.label or None, origin, licence, list(weights.sha256)
    )


def _performance(figures: ModelPerformance) -> schemas.ModelPerformance:
    has_frames, memory_mb = figures.drawn > 0, figures.memory_usage_mb
    return schemas.ModelPerformance(
        model=figures.model.value,
        average_latency_ms=round(figures.average_latency_ms, 2) if has_frames else None,
        p95_latency_ms=round(figures.p95_latency_ms, 2) if has_frames else None,
        p99_latency_ms=round(figures.p99_latency_ms, 2) if has_frames else None,
        success_rate=None if figures.updated_s is None else round(figures.success_rate, 4),
        quality_score=round(figures.quality_score, 4),
        gpu_utilization=figures.gpu_utilization,
        memory_usage_mb=None if memory_mb is None else round(memory_mb, 1),
        frames_per_second=round(figures.frames_per_second, 1) if has_frames else None,
        last_updated=None if figures.updated_s is None else _utc_text(figures.updated_s),
    )


def _utc_text(loop_s: float) -> str:
    """A time on the event loop's clock as UTC in ISO 8601, with milliseconds."""
    ago_s = asyncio.get_running_loop().time() - loop_s
    moment = datetime.fromtimestamp(time.time() - ago_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
