"""Asks models that failed whether they are back: each on its own, so that a slow one keeps none of
the others away.
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

SHORTEST_DEADLINE_S: Final = 0.3

SLACK: Final = 4.0
"""Times what chunks usually took; a model that is back may have a queue to answer first."""

ALMOST: Final = 0.9
"""Of its deadline: whoever failed after so long ran out of time; a failure that comes quickly is
another one.
"""

LONGEST_ILL_PROBE_S: Final = 3.0
"""Between probes of a model that ran out of time but has kept up before: it is ill, each question
costs about what its chunks did, and with what a probe and the next chunk take it is to draw again
within five seconds of being well.
"""

LONGEST_SLOW_PROBE_S: Final = 60.0
"""Between those of one that never kept up here: it may work on for seconds for nobody, and each
question costs what makes it too slow.
"""


class Probes:
    """Owns one task for each model that is being asked."""

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
        self._asking: dict[LipSyncModel, asyncio.Task[None]] = {}
        self._answered: set[LipSyncModel] = set()
        """Have answered a probe."""

    async def run(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(INTERVAL_S)
                for model in self._performance.due_for_probe(loop.time()):
                    if model not in self._asking:
                        self._ask(model)
        finally:
            tasks = list(self._asking.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def deadline_s(self, model: LipSyncModel) -> float:
        """How long the model may take: as its chunks did, and no longer than a chunk may, since it
        would fail again.
        """
        usual_s = self._performance.performance(model).p95_latency_ms / 1000.0
        allowed_s = (
            min(self._chunk_deadline_s, SLACK * usual_s)
            if usual_s > 0.0
            else self._chunk_deadline_s
        )
        return max(allowed_s, SHORTEST_DEADLINE_S)

    def longest_wait_s(self, model: LipSyncModel, *, timed_out: bool) -> float:
        """How long the model may stay unasked after a vain probe."""
        if not timed_out:
            return LONGEST_PROBE_S
        return LONGEST_ILL_PROBE_S if self._has_kept_up(model) else LONGEST_SLOW_PROBE_S

    def _has_kept_up(self, model: LipSyncModel) -> bool:
        """A chunk was drawn, or a probe answered, in the time that a chunk has. Recordings and
        benchmarks have more.
        """
        figures = self._performance.performance(model)
        return model in self._answered or (
            figures.drawn > 0 and figures.average_latency_ms <= 1000.0 * self._chunk_deadline_s
        )

    def _ask(self, model: LipSyncModel) -> None:
        task = asyncio.create_task(self._probe(model), name=f"probe {model.value}")
        self._asking[model] = task
        task.add_done_callback(lambda _: self._asking.pop(model))

    async def _probe(self, model: LipSyncModel) -> None:
        loop, adapter = asyncio.get_running_loop(), self._adapters[model]
        began, deadline_s = loop.time(), self.deadline_s(model)
        answered = await self._video.ready(adapter) and await self._video.probe(
            adapter, deadline=began + deadline_s
        )
        timed_out = loop.time() - began > ALMOST * deadline_s
        self._performance.record_probe(
            model, answered, loop.time(), longest_s=self.longest_wait_s(model, timed_out=timed_out)
        )
        if answered:
            self._answered.add(model)
            logger.info("model %s is back", model.value)
