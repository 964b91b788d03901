"""Supervise the fetched `tritonserver`: start, watch, heal, restart, stop (docs/triton.md).

A backend process that died or was stopped: unload and load its model; the second time within
`REPEATED_FAULT_S` restart the server. A server that ended: start it again. A server that does not
answer: kill it and start it again.

A model is ready only after it passed its self test. Models of `later` are loaded one by one while
the server already serves; their failures never restart it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import grpc

from orchestrator.core.backoff import Backoff
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.embedded.backend_processes import Stub, memory_mb
from orchestrator.inference.embedded.control_client import CannotRun, ServerFailed
from orchestrator.inference.embedded.health import TritonHealth, TritonState
from orchestrator.inference.embedded.process import Launched, free_ports, launch, launch_early
from orchestrator.inference.embedded.readiness import Readiness
from orchestrator.inference.embedded.server_life import ServerLife
from orchestrator.inference.model_fingerprint import Stamp
from orchestrator.rendering.map_files import remove_folder_of

logger = logging.getLogger(__name__)

STABLE_S: Final = 2.0
"""A server that served this long was healthy: if it ends it is restarted at once."""

RESTARTS: Final = Backoff(0.25, 5.0)
"""Waits before the second and later restarts in a row; the first one is made at once."""

FIRST_START_TIMEOUT_S: Final = 60.0


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
        self._readiness = Readiness(repository, (*self._first, *self._later))
        self._launched = launched
        self._state = TritonState.STARTING
        self._first_start = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._current: ServerLife | None = None
        self._was_up = False
        self._never = ""
        """Reason why no server can ever run here."""

    @property
    def state(self) -> TritonState:
        """State of the supervisor and its server."""
        is_healing = self._current is not None and self._current.is_healing
        if is_healing and self._state is TritonState.RUNNING:
            return TritonState.HEALING
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
        return self._state is TritonState.RUNNING and self._readiness.is_ready(model)

    def loaded_from(self, model: str) -> Stamp | None:
        """Stamp of the model's files when they were loaded."""
        return self._readiness.loaded_from(model)

    async def ready(self, model: str) -> bool:
        """As `has_ready`."""
        return self.has_ready(model)

    def health(self) -> TritonHealth:
        """Everything at once."""
        pid = self._process.pid if self._process.exit_code is None else None
        reasons, tail = dict(self._readiness.reasons), self._process.tail()
        return TritonHealth(
            self.state,
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
        """Private memory of each model's backend processes in MiB."""
        return memory_mb(self.stubs())

    def report_failure(self, model: str, error: InferenceError) -> None:
        """Report a failed request: unavailability or several time-outs start the model's self test.

        Reports are always verified: a dead instance answers after a second, when the model may have
        been healed already. An ensemble has no instances, so its failures are attributed to its
        members.
        """
        if self._current is None or not self.has_ready(model):
            return
        for suspect in self._readiness.steps(model) or (model,):
            self._current.report_failure(suspect, error)

    async def __aenter__(self) -> EmbeddedTriton:
        launched = self._launched or launch_early(self._path, self._first)
        self._run_lock, self._process = launched.run_lock, launched.process
        self._task = asyncio.create_task(self._supervise(), name="supervise triton")
        try:
            async with asyncio.timeout(
                FIRST_START_TIMEOUT_S + self._readiness.start_allowance_s(self._first)
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
        await self._close_life()
        await asyncio.to_thread(self._kill)
        self._run_lock.release()

    async def _supervise(self) -> None:
        now, wait_s = asyncio.get_running_loop().time, 0.0
        while True:
            self._serving_since_s = float("inf")
            try:
                life = self._current = ServerLife(
                    self._process, self._readiness, self._first, record_fault=self._record_fault
                )
                await life.bring_up()
                self._begin_serving()
                await life.serve(self._later)
            except CannotRun as error:
                self.last_fault = str(error)
                if not self.life:
                    self._never = self.last_fault
                    self._first_start.set()
                    return
                logger.warning("%s; starting it again", error)
            except (ServerFailed, LipSyncError, grpc.aio.AioRpcError, TimeoutError) as error:
                self.last_fault = str(error) or type(error).__name__
                logger.warning("tritonserver: %s; starting it again", self.last_fault)
            # the edge of the task: after an unexpected error a fresh server is the best remedy
            except Exception as error:
                self.last_fault = repr(error)
                logger.exception("the supervisor of tritonserver failed; starting it again")
            if now() - self._serving_since_s > STABLE_S:
                wait_s = 0.0
            await self._replace(wait_s)
            wait_s = RESTARTS.after(wait_s)

    def _begin_serving(self) -> None:
        self._was_up = True
        self.life += 1
        self._serving_since_s = asyncio.get_running_loop().time()
        self._state = TritonState.RUNNING
        self._first_start.set()
        if self.restarts:
            logger.info(
                "tritonserver serves again: %s",
                ", ".join(filter(self.has_ready, self._first)) or "nothing",
            )

    def _record_fault(self, fault: str) -> None:
        self.last_fault = fault

    async def _replace(self, back_off_s: float) -> None:
        """Kill what is left of the server, wait, and launch the next one.

        It gets the same ports, so that clients find it again. If it never came up it gets others,
        since the ports may be taken.
        """
        self._state = TritonState.STARTING
        self._readiness.withdraw(f"the server is starting again: {self.last_fault}")
        self._first_start.set()
        await self._close_life()
        await asyncio.to_thread(self._kill)
        self._run_lock.sweep_segments()
        await asyncio.sleep(back_off_s)
        ports = self._process.ports if self._was_up else free_ports()
        self._was_up = False
        self.restarts += 1
        self._process = launch(self._path, self._first, self._run_lock, ports)

    def _kill(self) -> None:
        self._process.kill()
        remove_folder_of(self._process.pid)

    async def _close_life(self) -> None:
        if self._current is not None:
            await self._current.close()
        self._current = None
