"""Supervise the fetched `tritonserver`: start, watch, heal, restart, stop (docs/triton.md).

A backend process that died or was stopped: unload and load its model; the second time within
`REPEAT_S` restart the server. A server that ended: start it again. A server that does not answer:
kill it and start it again.

A model is ready only after it passed its self test. Models of `later` are loaded one by one while
the server already serves; their failures never restart it.
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

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.embedded.background_loader import RETRY_FIRST_S, BackgroundLoader
from orchestrator.inference.embedded.control_client import CannotRun, Control, ServerFailed
from orchestrator.inference.embedded.fault_detection import Fault, FaultFinder
from orchestrator.inference.embedded.process import (
    Launched,
    Stub,
    cpu_ticks,
    free_ports,
    kill_stubs,
    launch,
    launch_early,
    memory_mb,
)
from orchestrator.inference.embedded.readiness import READY, Admission
from orchestrator.inference.model_fingerprint import Stamp
from orchestrator.rendering.map_files import remove_folder_of

LOG = logging.getLogger(__name__)

REPEAT_S: Final = 30.0
"""A model that fails again within this time causes a restart of the server."""

STABLE_S: Final = 2.0
"""A server that served this long was healthy: if it ends it is restarted at once."""

BACK_OFF_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Waits before the first, second ... restart in a row; the last one repeats."""

FIRST_START_TIMEOUT_S: Final = 60.0

WORKING_LOOK_S: Final = 1.0
"""Time for which a suspected heavy model is watched for CPU use before its self test."""


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
    """An embedded Triton on this machine; an async context manager for the main thread.

    Entering waits until the first start has succeeded or failed. It raises MODEL_LOAD_FAILED only
    where no server can ever run here. A server that fails to start later is retried for ever, with
    growing waits.
    """

    def __init__(
        self,
        repository: Path,
        models: Sequence[str],
        *,
        later: Sequence[str] = (),
        launched: Launched | None = None,
    ) -> None:
        """Configure the server; entering makes `models` ready, if they can be.

        Those of `later` follow in their order, in the background.
        """
        self.life = 0
        self.restarts = 0
        self.last_fault = ""
        self._path, self._first = repository, tuple(models)
        self._later = tuple(model for model in later if model not in self._first)
        self._admission = Admission(repository, (*self._first, *self._later))
        self._launched = launched
        self._state = TritonState.STARTING
        self._first_start = asyncio.Event()
        self._control: Control | None = None
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._healed_at: dict[str, float] = {}
        self._was_up = False
        self._never = ""
        """Reason why no server can ever run here."""

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
        """True if `model` passed its self test and no fault was seen since; sends no request.

        An ensemble is ready when all its members are.
        """
        if self._state not in (TritonState.RUNNING, TritonState.HEALING):
            return False
        return all(
            self._admission.reasons.get(each) == READY
            for each in (model, *self._admission.steps(model))
        )

    def loaded_from(self, model: str) -> Stamp | None:
        """Stamp of the model's files when they were loaded."""
        return self._admission.loaded_from(model)

    async def ready(self, model: str) -> bool:
        """As `has_ready`."""
        return self.has_ready(model)

    def health(self) -> TritonHealth:
        """Everything at once."""
        pid = self._process.pid if self._process.exit_code is None else None
        reasons, tail = dict(self._admission.reasons), self._process.tail()
        return TritonHealth(
            self._state,
            self.url,
            self.metrics_url,
            pid,
            self.restarts,
            reasons,
            self.last_fault,
            tail,
        )

    def stubs(self) -> tuple[Stub, ...]:
        """The backend processes that are alive now."""
        return self._process.stubs()

    def memory_mb(self) -> dict[str, float]:
        """What the backend processes of each model hold."""
        return memory_mb(self.stubs())

    def report_failure(self, model: str, error: InferenceError) -> None:
        """Report a failed request: unavailability or several time-outs start the model's self test.

        Reports are always verified: a dead instance answers after a second, when the model may have
        been healed already. An ensemble has no instances, so its failures are attributed to its
        members.
        """
        if not self.has_ready(model):
            return
        for suspect in self._admission.steps(model) or (model,):
            if error.code is LipSyncErrorCode.MODEL_LOAD_FAILED:
                self._faults.report(Fault(suspect, error.message, suspected=True))
            elif error.code is LipSyncErrorCode.TIMEOUT:
                self._faults.timed_out(suspect, asyncio.get_running_loop().time())

    async def __aenter__(self) -> EmbeddedTriton:
        launched = self._launched or launch_early(self._path, self._first)
        self._lease, self._process = launched.lease, launched.process
        self._faults = FaultFinder(self._process)
        self._task = asyncio.create_task(self._supervise(), name="supervise triton")
        try:
            async with asyncio.timeout(
                FIRST_START_TIMEOUT_S + self._admission.patience_s(self._first)
            ):
                await self._first_start.wait()
            if self._never:
                raise LipSyncError(
                    LipSyncErrorCode.MODEL_LOAD_FAILED, self._never, recoverable=False
                )
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._state = TritonState.STOPPED
        await self._close_control()
        await asyncio.to_thread(self._kill)
        self._lease.release()

    async def _supervise(self) -> None:
        now, failures = asyncio.get_running_loop().time, 0
        while True:
            self._serving_since = float("inf")
            try:
                control = self._control = Control(self._process)
                await self._bring_up(control)
                await self._serve(control)
            except CannotRun as error:
                self.last_fault = str(error)
                if not self.life:
                    self._never = self.last_fault
                    self._first_start.set()
                    return
                LOG.warning("%s; starting it again", error)
            except (ServerFailed, LipSyncError, grpc.aio.AioRpcError, TimeoutError) as error:
                self.last_fault = str(error) or type(error).__name__
                LOG.warning("tritonserver: %s; starting it again", self.last_fault)
            # the edge of the task: after an unexpected error a fresh server is the best remedy
            except Exception as error:
                self.last_fault = repr(error)
                LOG.exception("the supervisor of tritonserver failed; starting it again")
            failures = 1 if now() - self._serving_since > STABLE_S else failures + 1
            await self._replace(BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1])

    async def _bring_up(self, control: Control) -> None:
        learning = (
            self._admission.learn(model)
            for model in self._first
            if not self._admission.absent(model)
        )
        await asyncio.gather(
            control.wait_until_up(self._admission.patience_s(self._first)), *learning
        )
        self._was_up = True
        await asyncio.gather(*(self._admission.admit(control, model) for model in self._first))
        self._faults = FaultFinder(self._process)
        for model in self._first:
            self._faults.watch(model)
        self._healed_at.clear()
        self.life += 1
        self._serving_since = asyncio.get_running_loop().time()
        self._state = TritonState.RUNNING
        self._first_start.set()
        if self.restarts:
            LOG.info(
                "tritonserver serves again: %s",
                ", ".join(filter(self.has_ready, self._first)) or "nothing",
            )

    async def _serve(self, control: Control) -> None:
        """Serve until this life of the server ends; never returns, raises the reason."""
        self._loader = BackgroundLoader(self._admission, self._process, control, self._faults)
        failed = [model for model in self._first if self._admission.reasons[model]]
        self._loader.take(self._later)
        self._loader.take(failed, after_s=RETRY_FIRST_S)
        self._tasks = {asyncio.create_task(self._loader.run(), name="load models")}
        try:
            await self._watch_and_heal(control)
        finally:
            tasks, self._tasks = self._tasks, set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch_and_heal(self, control: Control) -> None:
        """Handle faults as they occur; raises `ServerFailed` when the server has to be replaced."""
        while True:
            fault = await self._faults.next(control.answers)
            if fault.model is None:
                raise ServerFailed(fault.reason)
            if fault.suspected:
                self._look_into(control, fault.model, fault.reason)
            elif fault.model in self._first:
                await self._heal(control, fault.model, fault.reason)
            else:
                self.last_fault = f"{fault.model}: {fault.reason}"
                self._loader.take_back(fault.model, fault.reason)

    def _look_into(self, control: Control, model: str, reason: str) -> None:
        """Verify a suspected fault in a task of its own, one for each model.

        A heavy model answers slowly, and the watch has to go on.
        """
        name = f"look into {model}"
        if any(task.get_name() == name for task in self._tasks):
            return
        task = asyncio.create_task(self._verify(control, model, reason), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _verify(self, control: Control, model: str, reason: str) -> None:
        """Confirm a suspected fault if the self test fails; it is the server's if that is silent."""
        if (
            not self.has_ready(model)
            or await self._is_working(model)
            or await self._is_sound(control, model)
        ):
            return
        self._faults.report(Fault(model if await control.answers() else None, reason))

    async def _is_sound(self, control: Control, model: str) -> bool:
        ticks = cpu_ticks(self._process.stubs_of(model))
        failure = await self._admission.failure(control, model)
        # or the fault was found elsewhere meanwhile
        if failure is None or not self.has_ready(model):
            return True
        return (
            failure.silent
            and self._admission.is_heavy(model)
            and cpu_ticks(self._process.stubs_of(model)) > ticks
        )

    async def _is_working(self, model: str) -> bool:
        """True if a heavy model uses the CPU: a late answer is then no fault of the instance."""
        if not self._admission.is_heavy(model):
            return False
        ticks = cpu_ticks(self._process.stubs_of(model))
        await asyncio.sleep(WORKING_LOOK_S)
        return cpu_ticks(self._process.stubs_of(model)) > ticks

    async def _heal(self, control: Control, model: str, reason: str) -> None:
        """Unload and load the model.

        Raises `ServerFailed` if that does not help or helped only a short while ago.
        """
        now = asyncio.get_running_loop().time()
        self.last_fault = f"{model}: {reason}"
        self._admission.withdraw(reason, model)
        if now - self._healed_at.get(model, -REPEAT_S) < REPEAT_S:
            raise ServerFailed(f"{self.last_fault} (again)")
        LOG.warning("%s; loading it again", self.last_fault)
        self._state = TritonState.HEALING
        self._healed_at[model] = now
        await asyncio.to_thread(kill_stubs, self._process.stubs_of(model))
        await control.unload(model)
        failed = await self._admission.admit(control, model)
        if failed:
            raise ServerFailed(f"{model} did not come back: {failed}")
        self._faults.watch(model)
        self._state = TritonState.RUNNING
        LOG.info("%s is ready again", model)

    async def _replace(self, back_off_s: float) -> None:
        """Kill what is left of the server, wait, and launch the next one.

        It gets the same ports, so that clients find it again. If it never came up it gets others,
        since the ports may be taken.
        """
        self._state = TritonState.STARTING
        self._admission.withdraw(f"the server is starting again: {self.last_fault}")
        self._first_start.set()
        await self._close_control()
        await asyncio.to_thread(self._kill)
        self._lease.sweep_segments()
        await asyncio.sleep(back_off_s)
        ports = self._process.ports if self._was_up else free_ports()
        self._was_up = False
        self.restarts += 1
        self._process = launch(self._path, self._first, self._lease, ports)

    def _kill(self) -> None:
        self._process.kill()
        remove_folder_of(self._process.pid)

    async def _close_control(self) -> None:
        if self._control is not None:
            await self._control.close()
        self._control = None
