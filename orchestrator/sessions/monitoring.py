"""Monitoring of the service: health, gauges that no event sets, and metrics of Triton."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from orchestrator.core.types import LipSyncModel
from orchestrator.inference import Inference
from orchestrator.inference.triton.metrics_poller import Accountable, TritonWatch
from orchestrator.pipeline.benchmark import GpuMemory, no_gpu
from orchestrator.pipeline.capacity_probe import is_measured
from orchestrator.pipeline.circuit_breaker import ModelPerformance
from orchestrator.sessions.calls import waiting_frames
from orchestrator.sessions.directory import SessionDirectory
from orchestrator.sessions.interfaces import SessionEnvironment
from orchestrator.video.generation_metrics import GenerationMetrics

INTERVAL_S: Final = 1.0
"""Interval at which the gauges are set."""


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """State of the service and of its models."""

    is_healthy: bool
    """True if the default model is available; otherwise a fallback serves."""
    active_sessions: int
    gpu_available: bool
    available: dict[LipSyncModel, bool]
    performance: dict[LipSyncModel, ModelPerformance]
    generation: GenerationMetrics
    """Figures of all sessions since the start."""


@asynccontextmanager
async def monitored(
    environment: SessionEnvironment,
    sessions: SessionDirectory,
    models: Iterable[LipSyncModel],
    inference: Inference,
) -> AsyncIterator[GpuMemory]:
    """Run the monitoring tasks; yields the reader of the GPUs' memory."""
    gpu_memory: GpuMemory = no_gpu
    gauges = _keep_gauges(environment, sessions, tuple(models))
    tasks = [asyncio.create_task(gauges, name="set gauges")]
    if isinstance(inference, Accountable):
        config, note = environment.config, environment.pipeline.models.note_triton
        watch = TritonWatch(inference, config.triton_metrics_urls, note)
        gpu_memory = watch.gpu_used_mb
        watching = watch.run(config.performance_monitoring_interval)
        tasks.append(asyncio.create_task(watching, name="watch triton's metrics"))
    try:
        yield gpu_memory
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _keep_gauges(
    environment: SessionEnvironment, sessions: SessionDirectory, models: Iterable[LipSyncModel]
) -> None:
    """Set the gauges of sessions and models every `INTERVAL_S`, until cancelled."""
    metrics, config = environment.metrics, environment.config
    metrics.session_slots.set(config.max_concurrent_sessions)
    if not is_measured(config):
        metrics.capacity_faces.set(math.nan)
    while True:
        metrics.sessions.set(len(sessions))
        metrics.speaking_sessions.set(sessions.speaking())
        metrics.buffered_frames.set(sum(len(waiting_frames(session)) for session in sessions))
        for model in models:
            is_available = await environment.pipeline.models.available(model)
            metrics.model_available.labels(model.value).set(is_available)
        await asyncio.sleep(INTERVAL_S)
