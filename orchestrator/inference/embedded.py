"""Supervises the wheel's `tritonserver`: starts, watches, heals, restarts and stops it (DESIGN 8 has the measured rules).

Faults and what is done: a backend process that died or was stopped -> unload and load its model, the second time within
`REPEAT_S` restart the server; a server that ended -> start it again; one that does not answer -> kill, start again.
A model is ready only after it answered a canary inference as it should.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final

import grpc

from orchestrator.errors import LipSyncError, LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.canary import Canary, canary_of
from orchestrator.inference.control import Control, ServerFailed
from orchestrator.inference.faults import Fault, FaultFinder
from orchestrator.inference.process import Launched, Stub, free_ports, kill_stubs, launch, launch_early
from orchestrator.inference.repository import ModelContract, read_repository

LOG = logging.getLogger(__name__)

REPEAT_S: Final = 30.0
"""A model that fails again within this time takes the server with it; a server that ran this long starts afresh at once."""

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


@dataclass
class _Models:
    """What is known of the models in this life of the server."""

    unready: dict[str, str]
    healed_at: dict[str, float] = field(default_factory=dict)


class EmbeddedTriton:
    """A Triton of our own on this machine; an async context manager, entered and left in the main thread.

    Entering waits until the first start has succeeded or failed; it raises MODEL_LOAD_FAILED only where no server can ever
    run here. A server that fails to start later is retried for ever, with growing waits.
    """

    def __init__(self, repository: Path, models: Sequence[str], *, launched: Launched | None = None) -> None:
        self.life = 0
        self.restarts = 0
        self.last_fault = ""
        self._path, self._names, self._launched = repository, tuple(models), launched
        self._state = TritonState.STARTING
        self._models = _Models({name: "the server is starting" for name in models})
        self._first_start = asyncio.Event()
        self._canaries: dict[str, Canary | None] = {}
        self._control: Control | None = None
        self._task: asyncio.Task[None] | None = None
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
        return self._state in (TritonState.RUNNING, TritonState.HEALING) and self._models.unready.get(model, "unknown") == ""

    async def ready(self, model: str) -> bool:
        """As `has_ready`."""
        return self.has_ready(model)

    def health(self) -> TritonHealth:
        """Everything at once."""
        pid = self._process.pid if self._process.exit_code is None else None
        unready = dict(self._models.unready)
        tail = self._process.tail()
        return TritonHealth(self._state, self.url, self.metrics_url, pid, self.restarts, unready, self.last_fault, tail)

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
        try:
            self._contracts = {name: each for name, each in read_repository(self._path).models.items() if name in self._names}
            self._task = asyncio.create_task(self._supervise(), name="supervise triton")
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
        now, failures, relaunch = asyncio.get_running_loop().time, 0, False
        while True:
            began = now()
            try:
                if relaunch:
                    self._relaunch()
                relaunch = True
                await self._bring_up()
                await self._watch_and_heal()
            except (ServerFailed, LipSyncError, grpc.aio.AioRpcError, TimeoutError) as error:
                self.last_fault = str(error) or type(error).__name__
                LOG.warning("tritonserver: %s; starting it again", self.last_fault)
            except Exception as error:  # the edge of the task: whatever it is, a fresh server is the best that can be done
                self.last_fault = repr(error)
                LOG.exception("the supervisor of tritonserver failed; starting it again")
            failures = 1 if now() - began > REPEAT_S else failures + 1
            await self._bury(BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1])

    async def _bring_up(self) -> None:
        self._control = Control(self._process)
        await asyncio.gather(self._control.wait_until_up(), self._prepare_canaries())
        self._was_up = True
        await asyncio.gather(*(self._admit(name) for name in self._names))
        self._faults = FaultFinder(self._process)
        self.life += 1
        self._state = TritonState.RUNNING
        self._first_start.set()

    async def _bury(self, back_off_s: float) -> None:
        """Ends what is left of the server, and waits."""
        self._state = TritonState.STARTING
        self._models = _Models({name: f"the server is starting again: {self.last_fault}" for name in self._names})
        self._first_start.set()
        await self._close_control()
        await asyncio.to_thread(self._process.kill)
        self._lease.sweep_segments()
        await asyncio.sleep(back_off_s)

    def _relaunch(self) -> None:
        """On the same ports, so that clients find it again; on others if it never came up, since they may be taken."""
        ports = self._process.ports if self._was_up else free_ports()
        self._was_up = False
        self.restarts += 1
        self._process = launch(self._path, self._names, self._lease, ports)

    async def _prepare_canaries(self) -> None:
        for name, contract in self._contracts.items():
            if name not in self._canaries and contract.present:
                with contextlib.suppress(InferenceError):  # the server will say what is wrong with the file
                    self._canaries[name] = await asyncio.to_thread(canary_of, contract)

    async def _admit(self, model: str) -> None:
        """Loads the model if that is still to do, asks its canary, and notes the outcome."""
        assert self._control is not None
        contract = self._contracts.get(model)
        reason = _absent(model, contract) or await self._control.load(model)
        canary = self._canaries.get(model)
        if contract is not None and canary is not None and not reason:
            reason = await self._control.passes(contract, canary)
        self._models.unready[model] = reason
        if reason:
            LOG.warning("model %s is not ready: %s", model, reason)

    async def _watch_and_heal(self) -> None:
        """Returns never; raises `ServerFailed` when the server has to be replaced."""
        assert self._control is not None
        wait_s = RETRY_FIRST_S
        while True:
            try:
                async with asyncio.timeout(wait_s if any(self._models.unready.values()) else None):
                    fault = await self._faults.next(self._control.answers)
            except TimeoutError:
                await self._retry_unready()
                wait_s = min(2 * wait_s, RETRY_LAST_S)
                continue
            if fault.model is None:
                raise ServerFailed(fault.reason)
            await self._heal(fault.model, fault)

    async def _retry_unready(self) -> None:
        """A model may have been exported or mended in the meantime."""
        assert self._control is not None
        for name, reason in self._models.unready.items():
            contract = self._contracts.get(name)
            if reason and contract is not None and contract.present:
                await self._prepare_canaries()
                await self._control.unload(name)
                await self._admit(name)
        self._faults.look_again()

    async def _heal(self, model: str, fault: Fault) -> None:
        """Unload and load; raises `ServerFailed` if that does not help or helped only a short while ago."""
        assert self._control is not None
        if fault.suspected and await self._is_sound(model):
            return
        now = asyncio.get_running_loop().time()
        self.last_fault = f"{model}: {fault.reason}"
        LOG.warning("%s; loading it again", self.last_fault)
        self._models.unready[model] = fault.reason
        if now - self._models.healed_at.get(model, -REPEAT_S) < REPEAT_S:
            raise ServerFailed(f"{self.last_fault} (again)")
        self._state = TritonState.HEALING
        self._models.healed_at[model] = now
        await asyncio.to_thread(kill_stubs, [stub for stub in self._process.stubs() if stub.model == model])
        await self._control.unload(model)
        await self._admit(model)
        if self._models.unready[model]:
            raise ServerFailed(f"{model} did not come back: {self._models.unready[model]}")
        self._faults.look_again()
        self._state = TritonState.RUNNING

    async def _is_sound(self, model: str) -> bool:
        """Raises `ServerFailed` where not even the server answers."""
        assert self._control is not None
        canary = self._canaries.get(model)
        if canary is None or not await self._control.passes(self._contracts[model], canary):
            return True
        if not await self._control.answers():
            raise ServerFailed("does not answer")
        return False

    async def _close_control(self) -> None:
        if self._control is not None:
            await self._control.close()
        self._control = None


def _absent(model: str, contract: ModelContract | None) -> str:
    if contract is None:
        return "it is not in the model repository"
    return "" if contract.present else f"{contract.file} is missing; make it with: python -m export {model}"
