"""Opens on a failure, probes with growing waits, closes on an answer."""

from __future__ import annotations

from orchestrator.core.backoff import Backoff
from orchestrator.core.circuit_breaker import CircuitBreaker


def breaker() -> CircuitBreaker:
    return CircuitBreaker(Backoff(1.0, 8.0), Backoff(1.0, 4.0), steady_s=10.0)


def failed_and_back(circuit: CircuitBreaker, now: float) -> float:
    """The cool-down after a failure at `now`, ended by an answer to the first probe."""
    circuit.open(now)
    circuit.close(now + circuit.wait_s)
    return circuit.wait_s


def test_it_is_closed_until_a_failure_and_after_an_answer() -> None:
    circuit = breaker()
    assert not circuit.is_open
    circuit.open(5.0)
    assert circuit.is_open
    circuit.close(6.0)
    assert not circuit.is_open
    assert not circuit.is_due(99.0)


def test_a_probe_is_due_after_the_cool_down() -> None:
    circuit = breaker()
    circuit.open(5.0)
    assert (circuit.is_due(5.9), circuit.is_due(6.0)) == (False, True)


def test_a_failure_while_it_is_open_changes_nothing() -> None:
    circuit = breaker()
    circuit.open(5.0)
    circuit.open(5.9)
    assert circuit.is_due(6.0)


def test_failed_probes_wait_longer_up_to_a_cap() -> None:
    circuit, waits = breaker(), []
    circuit.open(0.0)
    for _ in range(4):
        circuit.probe_failed(0.0)
        waits.append(circuit.wait_s)
    assert waits == [2.0, 4.0, 4.0, 4.0]
    circuit.probe_failed(0.0, max_s=60.0)
    assert circuit.wait_s == 8.0


def test_the_cool_down_doubles_while_it_flaps_and_starts_anew_once_it_was_steady() -> None:
    circuit = breaker()
    assert [failed_and_back(circuit, now) for now in (0.0, 5.0, 12.0, 20.0)] == [1.0, 2.0, 4.0, 8.0]
    assert failed_and_back(circuit, 28.0) == 8.0
    assert failed_and_back(circuit, 28.0 + 8.0 + 10.0) == 1.0
