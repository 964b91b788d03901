"""Apply the servers' own metrics to the models' statistics and to the service's gauges."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.core.metrics import Metrics
from orchestrator.core.types import LipSyncModel
from orchestrator.inference.triton.server_metrics import TritonFigures
from orchestrator.models.base import ModelAdapter
from orchestrator.pipeline.circuit_breaker import PerformanceTracker


def record_resources(
    figures: TritonFigures,
    adapters: Mapping[LipSyncModel, ModelAdapter],
    performance: PerformanceTracker,
) -> None:
    """Give each model the queue time, GPU utilization and memory of its Triton models."""
    for model, adapter in adapters.items():
        names = adapter.spec.triton_models
        loads = [figures.models[name] for name in names if name in figures.models]
        held_mb = [figures.memory_mb[name] for name in names if name in figures.memory_mb]
        on_gpu = figures.has_gpu and bool(names)
        performance.note_resources(
            model,
            queue_ms=sum(load.queue_ms for load in loads) if loads else None,
            gpu_utilization=figures.gpu_utilization if on_gpu else None,
            memory_mb=sum(held_mb) if held_mb else figures.gpu_used_mb if on_gpu else None,
        )


def publish(figures: TritonFigures, metrics: Metrics) -> None:
    """Set the gauges of Triton's batches, queues and GPUs."""
    for model, load in figures.models.items():
        metrics.triton_batch_size.labels(model).set(load.batch_size)
        metrics.triton_queue_seconds.labels(model).set(load.queue_ms / 1000.0)
    if figures.has_gpu:
        metrics.gpu_utilization_ratio.set(figures.gpu_utilization or 0.0)
        metrics.gpu_memory_used_bytes.set((figures.gpu_used_mb or 0.0) * 2**20)
        metrics.gpu_memory_total_bytes.set((figures.gpu_total_mb or 0.0) * 2**20)
