"""Failed models are asked whether they are back: each in its own time, however slow another one
is.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

from fakes import ScriptedAdapter, ScriptedInference
from virtual_time import run_virtual

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.types import LipSyncModel
from orchestrator.inference import InferenceError, Tensors
from orchestrator.pipeline.circuit_breaker import LONGEST_PROBE_S, PerformanceTracker
from orchestrator.pipeline.recovery_probes import (
    LATENCY_FACTOR,
    MAX_SLOW_INTERVAL_S,
    MIN_DEADLINE_S,
    Probes,
)
from orchestrator.video.generator import VideoGeneratorService

TPSM, SADTALKER = LipSyncModel.TPSM, LipSyncModel.SADTALKER
SECONDS_PER_FRAME = 7.0


@dataclass
class SlowInference(ScriptedInference):
    """Takes its time for one model, as renderers do on a CPU."""

    slow: str
    ready_models: set[str] = field(default_factory=lambda: {TPSM.value, SADTALKER.value})
    asked: int = 0
    well_at_s: float = math.inf
    """From then on it answers at once."""

    async def infer(self, model: str, inputs: Tensors, *, deadline: float) -> dict[str, Any]:
        if model == self.slow:
            self.asked += 1
            try:
                async with asyncio.timeout_at(deadline):
                    if asyncio.get_running_loop().time() < self.well_at_s:
                        await asyncio.sleep(SECONDS_PER_FRAME)
            except TimeoutError:
                raise InferenceError(
                    LipSyncErrorCode.TIMEOUT, "no answer before the deadline", model=model
                ) from None
        return {}


def probes(
    inference: ScriptedInference, tracker: PerformanceTracker, chunk_deadline_s: float
) -> Probes:
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
    run_virtual(
        run_for(
            probes(SlowInference(SADTALKER.value), tracker, chunk_deadline_s=60.0),
            SECONDS_PER_FRAME + 1.0,
        )
    )
    assert tracker.is_closed(SADTALKER)


def test_a_slow_model_keeps_no_other_from_coming_back() -> None:
    tracker = failed(SADTALKER, TPSM)
    run_virtual(
        run_for(probes(SlowInference(SADTALKER.value), tracker, chunk_deadline_s=60.0), 1.0)
    )
    assert tracker.is_closed(TPSM)
    assert not tracker.is_closed(SADTALKER)


def test_a_model_that_is_too_slow_for_a_chunk_is_asked_seldom() -> None:
    tracker, inference = failed(SADTALKER), SlowInference(SADTALKER.value)
    run_virtual(run_for(probes(inference, tracker, chunk_deadline_s=0.3), 120.0))
    assert not tracker.is_closed(SADTALKER)
    assert 4 <= inference.asked <= 9


ILL_S = 20.0
CHUNK_DEADLINE_S = 0.3
NEXT_CHUNK_S = 0.1


async def away_after(
    inference: SlowInference, tracker: PerformanceTracker, closes: int = 1
) -> float:
    """How long after it was well again an ill model was away, the last of so many times in a
    row.
    """
    loop = asyncio.get_running_loop()
    probing = probes(inference, tracker, CHUNK_DEADLINE_S)
    task = asyncio.create_task(probing.run())
    for _ in range(closes):
        tracker.record_failure(SADTALKER, LipSyncErrorCode.TIMEOUT, loop.time())
        inference.well_at_s = loop.time() + ILL_S
        while not tracker.is_closed(SADTALKER):  # noqa: ASYNC110 - the tracker is no task
            await asyncio.sleep(0.01)
        away_s = loop.time() - inference.well_at_s
        await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.wait([task])
    return away_s


def test_a_model_that_drew_in_time_before_is_back_within_five_seconds_of_being_well() -> None:
    tracker = PerformanceTracker()
    tracker.record_success(SADTALKER, latency_ms=10.0, frames=2, now=1.0, lasting_ms=100.0)
    assert run_virtual(away_after(SlowInference(SADTALKER.value), tracker)) + NEXT_CHUNK_S < 5.0


def test_so_is_one_that_answered_a_probe_even_if_it_falls_ill_again_and_again() -> None:
    assert (
        run_virtual(away_after(SlowInference(SADTALKER.value), PerformanceTracker(), closes=6))
        + NEXT_CHUNK_S
        < 5.0
    )


def test_a_model_that_only_had_the_time_of_a_recording_counts_as_too_slow_for_a_chunk() -> None:
    tracker = PerformanceTracker()
    tracker.record_success(
        SADTALKER, latency_ms=1000.0 * SECONDS_PER_FRAME, frames=2, now=1.0, lasting_ms=100.0
    )
    probing = probes(ScriptedInference(), tracker, CHUNK_DEADLINE_S)
    assert probing.longest_wait_s(SADTALKER, timed_out=True) == MAX_SLOW_INTERVAL_S
    assert probing.longest_wait_s(SADTALKER, timed_out=False) == LONGEST_PROBE_S


def test_the_deadline_is_what_chunks_took_within_what_they_may_take() -> None:
    tracker = PerformanceTracker()
    probing = probes(ScriptedInference(), tracker, chunk_deadline_s=60.0)
    assert probing.deadline_s(SADTALKER) == 60.0
    tracker.record_success(SADTALKER, latency_ms=2000.0, frames=4, now=1.0, lasting_ms=200.0)
    assert probing.deadline_s(SADTALKER) == LATENCY_FACTOR * 2.0
    tracker.record_success(TPSM, latency_ms=5.0, frames=4, now=1.0, lasting_ms=200.0)
    assert probing.deadline_s(TPSM) == MIN_DEADLINE_S
