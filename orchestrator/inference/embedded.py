"""Supervises the wheel's `tritonserver`: starts, watches, heals, restarts and stops it (docs/triton.md has the rules).

Faults and what is done: a backend process that died or was stopped -> unload and load its model, the second time within
`REPEAT_S` restart the server; a server that ended -> start it again; one that does not answer -> kill, start again.
A model is ready only after it answered a canary inference as it should.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final

import grpc

from orchestrator.errors import LipSyncError, LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.admission import READY, Admission
from orchestrator.inference.control import Control, ServerFailed
from orchestrator.inference.faults import Fault, FaultFinder
from orchestrator.inference.process import Launched, Stub, free_ports, kill_stubs, launch, launch_early

LOG = logging.getLogger(__name__)

REPEAT_S: Final = 30.0
"""A model that fails again within this time takes the server with it."""

STABLE_S: Final = 2.0
"""A server that served this long was sound: if it ends it is started again at once."""

BACK_OFF_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Waits before the first, second ... restart in a row; the last one repeats."""

RETRY_FIRST_S: Final = 5.0
RETRY_LAST_S: Final = 60.0
"""Waits before trying again to load a model that could not be loaded, doubling."""

FIRST_START_TIMEOUT_S: Final = 60.0


class TritonState(StrEnum):
    """Where the supervisor is."""

    STARTING = "starting"
    RUNNING = "running"
    HEALING = "healing"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class TritonHealth:
    """For `/v1/health` and `lipsync doctor`."""

    state: TritonState
    url: str
    metrics_url: str
    pid: int | None
    restarts: int
    models: dict[str, str]
    """Each model with the reason why it is not ready; empty if it is."""
    last_fault: str
    log_tail: str


class EmbeddedTriton:
    """A Triton of our own on this machine; an async context manager, entered and left in the main thread.

    Entering waits until the first start has succeeded or failed; it raises MODEL_LOAD_FAILED only where no server can ever
    run here. A server that fails to start later is retried for ever, with growing waits.
    """

    def __init__(self, repository: Path, models: Sequence[str], *, launched: Launched | None = None) -> None:
        self.life = 0
        self.restarts = 0
        self.last_fault = ""
        self._path, self._names = repository, tuple(models)
        self._admission = Admission(repository, self._names)
        self._launched = launched
        self._state = TritonState.STARTING
        self._first_start = asyncio.Event()
        self._control: Control | None = None
        self._task: asyncio.Task[None] | None = None
        self._healed_at: dict[str, float] = {}
        self._was_up = False

    # what others ask

    @property
    def state(self) -> TritonState:
        """Where the supervisor is."""
        return self._state

    @property
    def url(self) -> str:
        """gRPC address."""
        return f"127.0.0.1:{self._process.ports.grpc}"

    @property
    def metrics_url(self) -> str:
        """Prometheus metrics of the server itself."""
        return f"http://127.0.0.1:{self._process.ports.metrics}/metrics"

    def has_ready(self, model: str) -> bool:
        """Whether `model` passed its canary and no fault was seen since; no request."""
        return self._state in (TritonState.RUNNING, TritonState.HEALING) and self._admission.reasons.get(model) == READY

    async def ready(self, model: str) -> bool:
        """As `has_ready`."""
        return self.has_ready(model)

    def health(self) -> TritonHealth:
        """Everything at once."""
        pid = self._process.pid if self._process.exit_code is None else None
        reasons, tail = dict(self._admission.reasons), self._process.tail()
        return TritonHealth(self._state, self.url, self.metrics_url, pid, self.restarts, reasons, self.last_fault, tail)

    def stubs(self) -> tuple[Stub, ...]:
        """The backend processes that are alive now."""
        return self._process.stubs()

    def report_failure(self, model: str, error: InferenceError) -> None:
        """What a request met: unavailability or a few time-outs make the supervisor ask the model's canary.

        Neither is believed unseen: a dead instance answers after a second, when the model may have been healed already.
        """
        if not self.has_ready(model):
            return
        if error.code is LipSyncErrorCode.MODEL_LOAD_FAILED:
            self._faults.report(Fault(model, error.message, suspected=True))
        elif error.code is LipSyncErrorCode.TIMEOUT:
            self._faults.timed_out(model, asyncio.get_running_loop().time())

    # life

    async def __aenter__(self) -> EmbeddedTriton:
        launched = self._launched or launch_early(self._path, self._names)
        self._lease, self._process = launched.lease, launched.process
        self._faults = FaultFinder(self._process)
        self._task = asyncio.create_task(self._supervise(), name="supervise triton")
        try:
            async with asyncio.timeout(FIRST_START_TIMEOUT_S):
                await self._first_start.wait()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stop()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._state = TritonState.STOPPED
        await self._close_control()
        await asyncio.to_thread(self._process.kill)
        self._lease.release()

    async def _supervise(self) -> None:
        now, failures = asyncio.get_running_loop().time, 0
        while True:
            self._serving_since = float("inf")
            try:
                control = self._control = Control(self._process)
                await self._bring_up(control)
                await self._watch_and_heal(control)
            except (ServerFailed, LipSyncError, grpc.aio.AioRpcError, TimeoutError) as error:
                self.last_fault = str(error) or type(error).__name__
                LOG.warning("tritonserver: %s; starting it again", self.last_fault)
            except Exception as error:  # the edge of the task: whatever it is, a fresh server is the best that can be done
                self.last_fault = repr(error)
                LOG.exception("the supervisor of tritonserver failed; starting it again")
            failures = 1 if now() - self._serving_since > STABLE_S else failures + 1
            await self._replace(BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1])

    async def _bring_up(self, control: Control) -> None:
        await asyncio.gather(control.wait_until_up(), self._admission.prepare())
        self._was_up = True
        await self._admission.admit_all(control)
        self._faults = FaultFinder(self._process)
        self._healed_at.clear()
        self.life += 1
        self._serving_since = asyncio.get_running_loop().time()
        self._state = TritonState.RUNNING
        self._first_start.set()

    async def _watch_and_heal(self, control: Control) -> None:
        """Returns never; raises `ServerFailed` when the server has to be replaced."""
        retry_s = RETRY_FIRST_S
        while True:
            try:
                async with asyncio.timeout(None if self._admission.complete else retry_s):
                    fault = await self._faults.next(control.answers)
            except TimeoutError:
                retry_s = min(2 * retry_s, RETRY_LAST_S)
                await self._admission.retry(control)
                self._faults.look_again()
                continue
            if fault.model is None:
                raise ServerFailed(fault.reason)
            if not (fault.suspected and await self._is_sound(control, fault.model)):
                await self._heal(control, fault.model, fault.reason)

    async def _is_sound(self, control: Control, model: str) -> bool:
        """Raises `ServerFailed` where not even the server answers."""
        if not await self._admission.failure(control, model):
            return True
        if not await control.answers():
            raise ServerFailed("does not answer")
        return False

    async def _heal(self, control: Control, model: str, reason: str) -> None:
        """Unload and load; raises `ServerFailed` if that does not help or helped only a short while ago."""
        now = asyncio.get_running_loop().time()
        self.last_fault = f"{model}: {reason}"
        self._admission.withdraw(reason, model)
        if now - self._healed_at.get(model, -REPEAT_S) < REPEAT_S:
            raise ServerFailed(f"{self.last_fault} (again)")
        LOG.warning("%s; loading it again", self.last_fault)
        self._state = TritonState.HEALING
        self._healed_at[model] = now
        await asyncio.to_thread(kill_stubs, [stub for stub in self._process.stubs() if stub.model == model])
        await control.unload(model)
        await self._admission.admit(control, model)
        if self._admission.reasons[model]:
            raise ServerFailed(f"{model} did not come back: {self._admission.reasons[model]}")
        self._faults.look_again()
        self._state = TritonState.RUNNING

    async def _replace(self, back_off_s: float) -> None:
        """Ends what is left of the server, waits, and launches the next one.

        On the same ports, so that clients find it again; on others if it never came up, since they may be taken.
        """
        self._state = TritonState.STARTING
        self._admission.withdraw(f"the server is starting again: {self.last_fault}")
        self._first_start.set()
        await self._close_control()
        await asyncio.to_thread(self._process.kill)
        self._lease.sweep_segments()
        await asyncio.sleep(back_off_s)
        ports = self._process.ports if self._was_up else free_ports()
        self._was_up = False
        self.restarts += 1
        self._process = launch(self._path, self._names, self._lease, ports)

    async def _close_control(self) -> None:
        if self._control is not None:
            await self._control.close()
        self._control = None
