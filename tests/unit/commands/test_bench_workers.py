"""The largest load that is served is found by trying few."""

from __future__ import annotations

import pytest

from orchestrator.commands.bench_workers import Tried, most_served


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 13, 31, 100])
def test_the_limit_is_found_to_a_tenth_in_a_few_tries(limit: int) -> None:
    tries: list[int] = []

    def run(sessions: int) -> Tried:
        tries.append(sessions)
        return Tried(sessions, complete=True, p95_ms=50.0 if sessions <= limit else 150.0, cpu_ms=2.0)

    best = most_served(run, 8)
    assert best is not None
    assert limit / 1.1 - 1 <= best.sessions <= limit
    assert len(tries) == len(set(tries)) <= 12


def test_a_machine_that_serves_nobody_says_so() -> None:
    assert most_served(lambda sessions: Tried(sessions, complete=False, p95_ms=1.0, cpu_ms=1.0), 8) is None


def test_a_load_that_lost_a_frame_was_not_served() -> None:
    assert not Tried(8, complete=False, p95_ms=10.0, cpu_ms=1.0).served
