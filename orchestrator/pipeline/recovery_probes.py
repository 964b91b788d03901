"""Recovery probes of models whose circuit breaker is open: a task per model, so that a slow one
does not delay the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from orchestrator.core.types import LipSyncModel
from orchestrator.models.base import ModelAdapter
from orchestrator.pipeline.circuit_breaker import LONGEST_PROBE_S, PerformanceTracker
from orchestrator.video.generator import VideoGeneratorService

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 0.1
"""Interval at which due probes are started."""
"""Interval at which due probes are started."""
"""Interval at which due probes are started."""

MIN_DEADLINE_S: Final = 0.3
"""Shortest deadline of a probe."""

LATENCY_FACTOR: Final = 4.0
"""Deadline of a probe over the model's usual latency: a recovered model may have a queue to process
first.
"""

TIMEOUT_SHARE: Final = 0.9
"""Share of its deadline after which a failed probe counts as a time-out, not as another failure."""

MAX_INTERVAL_S: Final = 3.0
"""Longest interval between probes of a model that timed out but has kept up before. A probe costs
about as much as a chunk; the model is to generate again within five seconds of its recovery.
"""

MAX_SLOW_INTERVAL_S: Final = 60.0
"""Longest interval for a model that never kept up here. A probe costs as much as a chunk, so probe
rarely.
"""


class Probes:
    """Owns one task for each model that is being probed."""

    def __init__(
        self,
        adapters: Mapping[LipSyncModel, ModelAdapter],
        video: VideoGeneratorService,
        performance: PerformanceTracker,
        chunk_deadline_s: float,
    ) -> None:
        self._adapters = adapters
        self._video = video
        self._performance = performance
        self._chunk_deadline_s = chunk_deadline_s
        self._probing: dict[LipSyncModel, asyncio.Task[None]] = {}
        self._answered: set[LipSyncModel] = set()
        """Models that have answered a probe."""

    async def run(self) -> None:
        """Run until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(INTERVAL_S)
                for model in self._performance.due_for_probe(loop.time()):
                    if model not in self._probing:
                        self._start(model)
        finally:
            tasks = list(self._probing.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def deadline_s(self, model: LipSyncModel) -> float:
        """Deadline of a probe: a multiple of the usual latency, at most the deadline of a chunk,
        since a slower model would fail again.
        """
        usual_s = self._performance.performance(model).p95_latency_ms / 1000.0
        allowed_s = (
            min(self._chunk_deadline_s, LATENCY_FACTOR * usual_s)
            if usual_s > 0.0
            else self._chunk_deadline_s
        )
        return max(allowed_s, MIN_DEADLINE_S)

    def longest_wait_s(self, model: LipSyncModel, *, timed_out: bool) -> float:
        """Longest interval to the next probe after a failed one."""
        if not timed_out:
            return LONGEST_PROBE_S
        return MAX_INTERVAL_S if self._has_kept_up(model) else MAX_SLOW_INTERVAL_S

    def _has_kept_up(self, model: LipSyncModel) -> bool:
        """True if the model met the deadline of a chunk, with a chunk or a probe. Recordings and
        benchmarks have longer deadlines.
        """
        figures = self._performance.performance(model)
        return model in self._answered or (
            figures.drawn > 0 and figures.average_latency_ms <= 1000.0 * self._chunk_deadline_s
        )

    def _start(self, model: LipSyncModel) -> None:
        task = asyncio.create_task(self._probe(model), name=f"probe {model.value}")
        self._probing[model] = task
        task.add_done_callback(lambda _: self._probing.pop(model))

    async def _probe(self, model: LipSyncModel) -> None:
        loop, adapter = asyncio.get_running_loop(), self._adapters[model]
        began, deadline_s = loop.time(), self.deadline_s(model)
        answered = await self._video.ready(adapter) and await self._video.probe(
            adapter, deadline=began + deadline_s
        )
        timed_out = loop.time() - began > TIMEOUT_SHARE * deadline_s
        self._performance.record_probe(
            model, answered, loop.time(), longest_s=self.longest_wait_s(model, timed_out=timed_out)
        )
        if answered:
            self._answered.add(model)
            logger.info("model %s is back", model.value)
