"""Models of the service: availability, refusals by the operator, and measured figures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from orchestrator.core.config import ServiceConfig
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import LipSyncModel
from orchestrator.inference.triton.server_metrics import TritonFigures
from orchestrator.inference.weights_provenance import Weights, WeightsRegister, warning_of
from orchestrator.models.base import ModelAdapter, ModelSpec
from orchestrator.pipeline.circuit_breaker import ModelPerformance, PerformanceTracker
from orchestrator.pipeline.licence_policy import refused_models
from orchestrator.pipeline.selection_policy import Candidate
from orchestrator.pipeline.triton_figures import publish, record_resources
from orchestrator.video.generator import VideoGeneratorService

FIGURES_S: Final = 0.5
"""Time for which a model's figures are cached: every batch of every session reads them, and
percentiles of hundreds of latencies are expensive.
"""

CHUNK_MS: Final = 100.0
"""Duration of the frames for which the models' latencies are compared."""


class ModelCatalogue:
    """Facts about the models that do not depend on a session."""

    def __init__(
        self,
        config: ServiceConfig,
        adapters: Mapping[LipSyncModel, ModelAdapter],
        video: VideoGeneratorService,
        metrics: Metrics,
        weights: WeightsRegister | None = None,
        performance: PerformanceTracker | None = None,
    ) -> None:
        """`performance` collects the results; a new tracker without it."""
        self._weights = weights
        self._config = config
        self._adapters = adapters
        self._video = video
        self._metrics = metrics
        self._refused = refused_models(adapters, commercial_safe=config.commercial_safe)
        self._candidates: dict[LipSyncModel, tuple[float, Candidate]] = {}
        self.performance = performance or PerformanceTracker(
            {model: adapter.spec.quality for model, adapter in adapters.items()}
        )
        self.gpu_available = False
        """True once a Triton reports a GPU."""

    def spec(self, model: LipSyncModel) -> ModelSpec:
        """Requirements that the model declares."""
        return self._adapters[model].spec

    async def available(self, model: LipSyncModel) -> bool:
        """True if sessions may use the model now: permitted, circuit closed, and ready."""
        permitted = (
            model in self._adapters and model not in self._refused and self._config.serves(model)
        )
        return (
            permitted
            and self.performance.is_closed(model)
            and await self._video.ready(self._adapters[model])
        )

    def why_refused(self, model: LipSyncModel) -> str:
        """Reason for which the operator does not serve the model; empty where it is served."""
        return self._refused.get(model, "")

    def weights(self, model: LipSyncModel) -> tuple[Weights, ...]:
        """Origin of the weights of the model's networks, where their files are on this machine."""
        if self._weights is None:
            return ()
        return self._weights.of(self.spec(model).triton_models)

    def weights_warning(self, model: LipSyncModel) -> str:
        """Warning to show with the model's name; empty for trained weights."""
        return warning_of(self.weights(model))

    def candidate(self, model: LipSyncModel) -> Candidate:
        """Figures of the model for the selection policy, at most `FIGURES_S` old."""
        now = asyncio.get_running_loop().time()
        known = self._candidates.get(model)
        if known is None or now - known[0] >= FIGURES_S:
            known = self._candidates[model] = (now, self._measured(model, now))
        return known[1]

    def note_triton(self, figures: TritonFigures) -> None:
        """Apply metrics that the Tritons report of themselves."""
        self.gpu_available = figures.has_gpu
        record_resources(figures, self._adapters, self.performance)
        publish(figures, self._metrics)

    def _measured(self, model: LipSyncModel, now: float) -> Candidate:
        spec, figures = self.spec(model), self.performance.performance(model)
        return Candidate(
            quality=spec.quality * figures.success_rate,
            p95_ms=self._p95_ms(figures, now),
            needs_gpu=spec.gpu_memory_mb > 0,
            min_bandwidth_kbps=spec.min_bandwidth_kbps,
        )

    def _p95_ms(self, figures: ModelPerformance, now: float) -> float | None:
        """Expected latency of a chunk; None for a model without measurements.

        A batch's latency includes its wait in Triton's queue. Old measurements say nothing about
        today's queue, so the queue time that Triton reports is added to them.
        """
        if not figures.frames_per_second:
            return None
        is_old = (
            figures.updated_s is not None
            and now - figures.updated_s > self._config.performance_monitoring_interval
        )
        return CHUNK_MS * figures.p95_load + (figures.queue_ms or 0.0 if is_old else 0.0)
