"""Bursts pass, floods do not."""

from __future__ import annotations

from orchestrator.allowance import Allowance


def test_a_burst_passes_and_then_as_many_as_time_allows() -> None:
    allowance = Allowance(10.0, burst_s=2.0)
    assert sum(allowance.take(0.0) for _ in range(100)) == 20
    assert sum(allowance.take(0.5) for _ in range(100)) == 5
    assert sum(allowance.take(100.0) for _ in range(100)) == 20
