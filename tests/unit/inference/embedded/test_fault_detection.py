"""A fault is found whichever way it shows."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from orchestrator.inference.embedded import fault_detection
from orchestrator.inference.embedded.fault_detection import (
    SUSPICIOUS_TIMEOUTS,
    TIMEOUTS_WITHIN_S,
    Fault,
    FaultDetector,
)
from orchestrator.inference.embedded.process import Ports, ServerProcess


@pytest.fixture
def process() -> Iterator[ServerProcess]:
    process = ServerProcess(subprocess.Popen(["sleep", "60"]), "id", Ports(1, 2))
    yield process
    process.kill()


async def answers() -> bool:
    return True


async def silent() -> bool:
    return False


async def test_a_server_that_ended_is_noticed(process: ServerProcess) -> None:
    process.popen.kill()
    assert await FaultDetector(process).next(answers) == Fault(None, "ended with code -9")


async def test_a_stopped_server_is_noticed_before_its_silence_is(process: ServerProcess) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    assert (await FaultDetector(process).next(silent)).reason == "was stopped by a signal"


async def test_a_silent_server_is_noticed(
    process: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_detection, "PROBE_INTERVAL_S", 0.0)
    assert (await FaultDetector(process).next(silent)).reason == "does not answer"


async def test_a_report_of_a_client_comes_at_once(process: ServerProcess) -> None:
    finder = FaultDetector(process)
    finder.report(Fault("tpsm", "its backend process died"))
    assert (await finder.next(answers)).model == "tpsm"


async def test_a_few_timeouts_close_together_are_a_suspicion_and_scattered_ones_are_not(
    process: ServerProcess,
) -> None:
    finder = FaultDetector(process)
    for i in range(3 * SUSPICIOUS_TIMEOUTS):
        finder.timed_out("slow", i * TIMEOUTS_WITHIN_S)
    for i in range(SUSPICIOUS_TIMEOUTS):
        finder.timed_out("tpsm", 1000.0 + i * 0.1)
    assert await finder.next(answers) == Fault("tpsm", "requests time out", suspected=True)
