"""The largest load that is served is found by trying few."""

from __future__ import annotations

import pytest

from orchestrator.commands.load_search import Tried, searched_in_turns


def tried(sessions: int, limit: float) -> Tried:
    return Tried(sessions, complete=True, p95_ms=50.0 if sessions <= limit else 150.0, cpu_ms=2.0)


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 13, 31, 100])
def test_the_limit_is_found_to_a_twentieth_in_a_few_tries(limit: int) -> None:
    tries: list[int] = []

    def run(_: int, sessions: int) -> Tried:
        tries.append(sessions)
        return tried(sessions, limit)

    best = searched_in_turns(run, [1], 8)[1]
    assert best is not None
    assert limit / 1.05 - 1 <= best.sessions <= limit
    assert len(set(tries)) <= 12


def test_services_are_tried_in_turns_and_each_is_found_its_own_limit() -> None:
    order: list[int] = []

    def run(kind: int, sessions: int) -> Tried:
        order.append(kind)
        return tried(sessions, 20 * kind)

    found = searched_in_turns(run, [1, 2], 16)
    assert {kind: best.sessions for kind, best in found.items() if best is not None} == {1: 20, 2: 40}
    assert order[:6] == [1, 2, 1, 2, 1, 2]


def test_one_bad_moment_does_not_decide() -> None:
    moments = iter([True])

    def run(_: int, sessions: int) -> Tried:
        return tried(sessions, 0 if next(moments, False) else 8)

    best = searched_in_turns(run, [1], 8)[1]
    assert best is not None
    assert best.sessions == 8


def test_a_machine_that_serves_nobody_says_so() -> None:
    assert searched_in_turns(lambda _, sessions: tried(sessions, 0), [1], 8) == {1: None}


def test_a_load_that_lost_a_frame_was_not_served() -> None:
    assert not Tried(8, complete=False, p95_ms=10.0, cpu_ms=1.0).served
