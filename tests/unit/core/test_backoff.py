"""Waits double from the first one to a cap."""

from __future__ import annotations

from orchestrator.core.backoff import Backoff


def test_waits_double_up_to_the_cap() -> None:
    waits, wait_s = [], 0.0
    for _ in range(6):
        wait_s = Backoff(3.0, 60.0).after(wait_s)
        waits.append(wait_s)
    assert waits == [3.0, 6.0, 12.0, 24.0, 48.0, 60.0]


def test_a_wait_above_the_cap_is_cut_to_it() -> None:
    assert Backoff(0.25, 1.0).after(4.0) == 1.0
