"""Detect faults of a server: ended, stopped, unresponsive, a dead backend process, reports."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from orchestrator.inference.embedded.backend_processes import (
    ENDED_STATES,
    STOPPED_STATE,
    Stub,
    state_of,
)
from orchestrator.inference.embedded.process import ServerProcess

POLL_S: Final = 0.1
PROBE_INTERVAL_S: Final = 0.3
MAX_UNANSWERED_PROBES: Final = 3
"""Probes in a row without an answer before the server counts as hung.

Two seconds in all, which a busy laptop does not exceed.
"""

SUSPICIOUS_TIMEOUTS: Final = 3
TIMEOUTS_WITHIN_S: Final = 5.0
"""This many time-outs of one model within this time start its self test."""

MAX_REPORTS: Final = 16
"""Upper bound of fault reports that wait for processing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A confirmed or suspected fault of one model, or of the server if `model` is None."""

    model: str | None
    reason: str
    suspected: bool = False


class FaultDetector:
    """Watches one life of the server."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process
        self._reports: deque[Fault] = deque(maxlen=MAX_REPORTS)
        self._wake = asyncio.Event()
        self._timeouts: dict[str, deque[float]] = {}
        self._stopped: set[int] = set()
        self._stubs: tuple[Stub, ...] = ()

    def watch(self, model: str) -> None:
        """Register the backend processes of a loaded model, and drop reports about earlier ones."""
        self.forget(model)
        self._stubs += self._process.stubs_of(model)

    def forget(self, model: str) -> None:
        """Stop watching a model that is being unloaded: its processes may end then."""
        self._stubs = tuple(stub for stub in self._stubs if stub.model != model)
        self._reports = deque(
            (fault for fault in self._reports if fault.model != model), maxlen=MAX_REPORTS
        )
        self._timeouts.pop(model, None)

    def report(self, fault: Fault) -> None:
        """Add a fault that a client reported."""
        self._reports.append(fault)
        self._wake.set()

    def timed_out(self, model: str, now: float) -> None:
        """Count a client's time-out; several in a row report a suspected fault."""
        times = self._timeouts.setdefault(model, deque(maxlen=SUSPICIOUS_TIMEOUTS))
        times.append(now)
        if len(times) == SUSPICIOUS_TIMEOUTS and now - times[0] <= TIMEOUTS_WITHIN_S:
            times.clear()
            self.report(Fault(model, "requests time out", suspected=True))

    async def next(self, answers: Callable[[], Awaitable[bool]]) -> Fault:
        """Wait for the next fault; `answers` probes whether the server is alive."""
        probe = asyncio.create_task(_until_silent(answers), name="probe triton")
        try:
            while True:
                fault = self._look()
                if fault is not None:
                    return fault
                if probe.done():
                    probe.result()
                    return Fault(None, "does not answer")
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._wake.wait()
        finally:
            probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probe

    def _look(self) -> Fault | None:
        code = self._process.exit_code
        if code is not None:
            return Fault(None, f"ended with code {code}")
        if self._stopped_twice(self._process.pid):
            return Fault(None, "was stopped by a signal")
        for stub in self._stubs:
            if state_of(stub.pid) in ENDED_STATES:
                return Fault(stub.model, "its backend process died")
            if self._stopped_twice(stub.pid):
                return Fault(stub.model, "its backend process was stopped by a signal")
        return self._reports.popleft() if self._reports else None

    def _stopped_twice(self, pid: int) -> bool:
        """True if the process is stopped at this poll and was at the one before."""
        if state_of(pid) != STOPPED_STATE:
            self._stopped.discard(pid)
            return False
        if pid in self._stopped:
            return True
        self._stopped.add(pid)
        return False


async def _until_silent(answers: Callable[[], Awaitable[bool]]) -> None:
    silent = 0
    while silent < MAX_UNANSWERED_PROBES:
        silent = 0 if await answers() else silent + 1
        await asyncio.sleep(PROBE_INTERVAL_S)
