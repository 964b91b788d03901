"""What more workers are good for is said for models as they are and for models that cost nothing."""

from __future__ import annotations

from orchestrator.commands.bench_workers import COSTLESS, HERE, report
from orchestrator.commands.load_search import Tried


def live(sessions: int, cpu_ms: float, own_ms: float) -> Tried:
    return Tried(sessions, complete=True, p95_ms=80.0, cpu_ms=cpu_ms, own_ms=own_ms)


def test_the_report_has_a_ratio_for_both() -> None:
    found = {HERE: {1: live(40, 2.0, 0.8), 2: live(42, 2.2, 1.0)}, COSTLESS: {1: live(60, 1.1, 0.8), 2: live(90, 1.2, 0.9)}}
    text = report(found, 2)
    assert f"{HERE}: 2 workers serve 1.05 times the live sessions of one" in text
    assert f"{COSTLESS}: 2 workers serve 1.50 times the live sessions of one" in text
    assert "one worker fills its core when the service has 2.5 of them" in text


def test_a_machine_that_serves_nobody_has_a_report_too() -> None:
    text = report({HERE: {1: None, 2: None}, COSTLESS: {1: live(1, 1.0, 0.5), 2: None}}, 2)
    assert f"{COSTLESS}: 2 workers serve 0.00 times the live sessions of one" in text
    assert f"{HERE}: 2" not in text
