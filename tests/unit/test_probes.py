"""Failed models are asked whether they are back: each in its own time, however slow another one is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from fakes import ScriptedAdapter, ScriptedInference
from virtual_time import run_virtual

from orchestrator.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError, Tensors
from orchestrator.performance import PerformanceTracker
from orchestrator.probes import SHORTEST_DEADLINE_S, SLACK, Probes
from orchestrator.types import LipSyncModel
from orchestrator.video.service import VideoGeneratorService

TPSM, SADTALKER = LipSyncModel.TPSM, LipSyncModel.SADTALKER
SECONDS_PER_FRAME = 7.0


@dataclass
class SlowInference(ScriptedInference):
    """Takes its time for one model, as renderers do on a CPU."""

    slow: str
    ready_models: set[str] = field(default_factory=lambda: {TPSM.value, SADTALKER.value})
    asked: int = 0

    async def infer(self, model: str, inputs: Tensors, *, deadline: float) -> dict[str, Any]:
        if model == self.slow:
            self.asked += 1
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.sleep(SECONDS_PER_FRAME)
            except TimeoutError:
                raise InferenceError(LipSyncErrorCode.TIMEOUT, "no answer before the deadline", model=model) from None
        return {}


def probes(inference: ScriptedInference, tracker: PerformanceTracker, chunk_deadline_s: float) -> Probes:
    adapters = {model: ScriptedAdapter(model) for model in (TPSM, SADTALKER)}
    return Probes(adapters, VideoGeneratorService(inference), tracker, chunk_deadline_s)


async def run_for(probing: Probes, seconds: float) -> None:
    task = asyncio.create_task(probing.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait([task])


def failed(*models: LipSyncModel) -> PerformanceTracker:
    tracker = PerformanceTracker()
    for model in models:
        tracker.record_failure(model, LipSyncErrorCode.TIMEOUT, 0.0)
    return tracker


def test_a_slow_model_comes_back_where_a_chunk_may_take_so_long() -> None:
    tracker = failed(SADTALKER)
    run_virtual(run_for(probes(SlowInference(SADTALKER.value), tracker, chunk_deadline_s=60.0), SECONDS_PER_FRAME + 1.0))
    assert tracker.is_closed(SADTALKER)


def test_a_slow_model_keeps_no_other_from_coming_back() -> None:
    tracker = failed(SADTALKER, TPSM)
    run_virtual(run_for(probes(SlowInference(SADTALKER.value), tracker, chunk_deadline_s=60.0), 1.0))
    assert tracker.is_closed(TPSM)
    assert not tracker.is_closed(SADTALKER)


def test_a_model_that_is_too_slow_for_a_chunk_is_asked_seldom() -> None:
    tracker, inference = failed(SADTALKER), SlowInference(SADTALKER.value)
    run_virtual(run_for(probes(inference, tracker, chunk_deadline_s=0.3), 120.0))
    assert not tracker.is_closed(SADTALKER)
    assert 4 <= inference.asked <= 9


def test_the_deadline_is_what_chunks_took_within_what_they_may_take() -> None:
    tracker = PerformanceTracker()
    probing = probes(ScriptedInference(), tracker, chunk_deadline_s=60.0)
    assert probing.deadline_s(SADTALKER) == 60.0
    tracker.record_success(SADTALKER, latency_ms=2000.0, frames=4, now=1.0)
    assert probing.deadline_s(SADTALKER) == SLACK * 2.0
    tracker.record_success(TPSM, latency_ms=5.0, frames=4, now=1.0)
    assert probing.deadline_s(TPSM) == SHORTEST_DEADLINE_S
