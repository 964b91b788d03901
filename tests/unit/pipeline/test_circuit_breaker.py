"""Circuits open on failures of the model itself, wait longer after each vain probe, and close on an
answer.
"""

from __future__ import annotations

import pytest

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.types import LipSyncModel
from orchestrator.pipeline.circuit_breaker import (
    FIRST_PROBE_S,
    LONGEST_FLAP_S,
    LONGEST_PROBE_S,
    STEADY_S,
    PerformanceTracker,
)

TPSM = LipSyncModel.TPSM


def test_a_new_model_is_trusted() -> None:
    assert PerformanceTracker().is_closed(TPSM)


@pytest.mark.parametrize(
    "code",
    [
        LipSyncErrorCode.TIMEOUT,
        LipSyncErrorCode.MODEL_LOAD_FAILED,
        LipSyncErrorCode.GPU_UNAVAILABLE,
    ],
)
def test_a_failure_of_the_model_opens_its_circuit(code: LipSyncErrorCode) -> None:
    tracker = PerformanceTracker()
    tracker.record_failure(TPSM, code, now=10.0)
    assert not tracker.is_closed(TPSM)
    assert tracker.opened_by(TPSM) is code


def test_a_failure_of_one_request_leaves_it_closed() -> None:
    tracker = PerformanceTracker()
    tracker.record_failure(TPSM, LipSyncErrorCode.VIDEO_GENERATION_FAILED, now=10.0)
    assert tracker.is_closed(TPSM)
    assert tracker.performance(TPSM).success_rate == 0.0


def test_probes_come_after_a_cool_down_that_doubles_to_a_limit() -> None:
    tracker, now = PerformanceTracker(), 10.0
    tracker.record_failure(TPSM, LipSyncErrorCode.TIMEOUT, now)
    waits = []
    for _ in range(6):
        began = now
        while TPSM not in tracker.due_for_probe(now):
            now += 0.05
        waits.append(now - began)
        tracker.record_probe(TPSM, answered=False, now=now)
    assert waits[0] == pytest.approx(FIRST_PROBE_S, abs=0.06)
    assert waits[-1] == pytest.approx(LONGEST_PROBE_S, abs=0.06)
    assert waits == sorted(waits)


def test_an_answered_probe_closes_the_circuit() -> None:
    tracker = PerformanceTracker()
    tracker.record_failure(TPSM, LipSyncErrorCode.TIMEOUT, now=10.0)
    tracker.record_probe(TPSM, answered=True, now=11.0)
    assert tracker.is_closed(TPSM)
    assert tracker.opened_by(TPSM) is None
    assert tracker.due_for_probe(now=99.0) == []


def test_figures_are_of_the_recent_batches() -> None:
    tracker = PerformanceTracker()
    for index in range(100):
        tracker.record_success(
            TPSM, latency_ms=float(index), frames=2, now=index * 0.1, lasting_ms=100.0
        )
    figures = tracker.performance(TPSM)
    assert figures.average_latency_ms == pytest.approx(49.5)
    assert figures.p95_latency_ms == pytest.approx(94.05)
    assert figures.frames_per_second == pytest.approx(20.0)
    assert figures.success_rate == 1.0


def test_quality_is_what_the_model_declares_times_its_success() -> None:
    tracker = PerformanceTracker({TPSM: 0.8})
    tracker.record_success(TPSM, latency_ms=10.0, frames=2, now=1.0, lasting_ms=100.0)
    tracker.record_failure(TPSM, LipSyncErrorCode.VIDEO_GENERATION_FAILED, now=2.0)
    assert tracker.performance(TPSM).quality_score == pytest.approx(0.4)


def test_what_nobody_reported_is_not_known() -> None:
    tracker = PerformanceTracker()
    figures = tracker.performance(TPSM)
    assert (figures.queue_ms, figures.gpu_utilization, figures.memory_usage_mb) == (
        None,
        None,
        None,
    )
    tracker.note_resources(TPSM, queue_ms=3.0, gpu_utilization=0.5, memory_mb=80.0)
    figures = tracker.performance(TPSM)
    assert (figures.queue_ms, figures.gpu_utilization, figures.memory_usage_mb) == (3.0, 0.5, 80.0)


def test_a_model_that_fails_again_soon_after_it_came_back_stays_away_for_longer() -> None:
    tracker, now, waits = PerformanceTracker(), 10.0, []
    for _ in range(7):
        tracker.record_failure(TPSM, LipSyncErrorCode.TIMEOUT, now)
        began = now
        while TPSM not in tracker.due_for_probe(now):
            now += 0.05
        waits.append(now - began)
        tracker.record_probe(TPSM, answered=True, now=now)
        now += 1.0
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(FIRST_PROBE_S, abs=0.06)
    assert waits[-1] == pytest.approx(LONGEST_FLAP_S, abs=0.06)
    tracker.record_failure(TPSM, LipSyncErrorCode.TIMEOUT, now + STEADY_S)
    assert TPSM in tracker.due_for_probe(now + STEADY_S + FIRST_PROBE_S)
