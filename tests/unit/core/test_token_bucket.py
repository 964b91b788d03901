"""Bursts pass, floods wait."""

from __future__ import annotations

import pytest

from orchestrator.core.token_bucket import Allowance


def read(allowance: Allowance, messages: int, now: float) -> float:
    """When that many messages are read, one after the other and as soon as each may be."""
    for _ in range(messages):
        now += allowance.take(now)
    return now


def test_a_burst_is_read_at_once_and_then_as_many_as_time_allows() -> None:
    allowance = Allowance(10.0, burst=20.0)
    assert read(allowance, 20, 0.0) == 0.0
    assert read(allowance, 100, 0.0) == pytest.approx(10.0)
    assert read(allowance, 20, 100.0) == 100.0


def test_a_message_that_counts_as_many_is_waited_for_afterwards() -> None:
    allowance = Allowance(10.0, burst=20.0)
    assert allowance.take(0.0, 50.0) == pytest.approx(3.0)


def test_an_episode_lasts_until_half_of_the_burst_is_allowed_again() -> None:
    allowance = Allowance(10.0, burst=20.0)
    now = read(allowance, 120, 0.0)
    assert allowance.waiting_s(now) == pytest.approx(10.0)
    allowance.take(now + 0.5)
    assert allowance.waiting_s(now + 0.5) == pytest.approx(10.5)
    allowance.take(now + 2.0)
    assert allowance.waiting_s(now + 2.0) == 0.0
