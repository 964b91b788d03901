"""Finds out that something is wrong with a server: ended, stopped, silent, a backend process gone,
or clients complain.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from orchestrator.inference.embedded.process import GONE, STOPPED, ServerProcess, Stub, state_of

POLL_S: Final = 0.1
PROBE_EVERY_S: Final = 0.3
SILENT_PROBES: Final = 3
"""Probes in a row without an answer before the server counts as hung: two seconds, which a busy
laptop does not take.
"""

TIMEOUTS: Final = 3
TIMEOUTS_WITHIN_S: Final = 5.0
"""So many time-outs of one model in so many seconds make the supervisor ask the model's canary."""

REPORTS: Final = 16
"""Complaints that wait to be looked into."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`model` is None where the whole server is concerned; a suspected one wants a second look
    first.
    """

    model: str | None
    reason: str
    suspected: bool = False


class FaultFinder:
    """Watches one life of the server."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process
        self._reports: deque[Fault] = deque(maxlen=REPORTS)
        self._wake = asyncio.Event()
        self._timeouts: dict[str, deque[float]] = {}
        self._stopped: set[int] = set()
        self._stubs: tuple[Stub, ...] = ()

    def watch(self, model: str) -> None:
        """Learns the backend processes of a model that was loaded, and forgets complaints about
        earlier ones.
        """
        self.forget(model)
        self._stubs += self._process.stubs_of(model)

    def forget(self, model: str) -> None:
        """The model is being unloaded: that its backend processes end is no fault."""
        self._stubs = tuple(stub for stub in self._stubs if stub.model != model)
        self._reports = deque(
            (fault for fault in self._reports if fault.model != model), maxlen=REPORTS
        )
        self._timeouts.pop(model, None)

    def report(self, fault: Fault) -> None:
        """A client saw it."""
        self._reports.append(fault)
        self._wake.set()

    def timed_out(self, model: str, now: float) -> None:
        """A client waited in vain; counts towards a suspicion."""
        times = self._timeouts.setdefault(model, deque(maxlen=TIMEOUTS))
        times.append(now)
        if len(times) == TIMEOUTS and now - times[0] <= TIMEOUTS_WITHIN_S:
            times.clear()
            self.report(Fault(model, "requests time out", suspected=True))

    async def next(self, answers: Callable[[], Awaitable[bool]]) -> Fault:
        """Waits for the next fault. `answers` asks the server for a sign of life."""
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
            if state_of(stub.pid) in GONE:
                return Fault(stub.model, "its backend process died")
            if self._stopped_twice(stub.pid):
                return Fault(stub.model, "its backend process was stopped by a signal")
        return self._reports.popleft() if self._reports else None

    def _stopped_twice(self, pid: int) -> bool:
        """Stopped at this look and at the one before."""
        if state_of(pid) != STOPPED:
            self._stopped.discard(pid)
            return False
        if pid in self._stopped:
            return True
        self._stopped.add(pid)
        return False


async def _until_silent(answers: Callable[[], Awaitable[bool]]) -> None:
    silent = 0
    while silent < SILENT_PROBES:
        silent = 0 if await answers() else silent + 1
        await asyncio.sleep(PROBE_EVERY_S)
