"""Healing of faults during one life of the server: verify suspicions, reload failed models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final

from orchestrator.inference.embedded.backend_processes import cpu_ticks, kill_stubs
from orchestrator.inference.embedded.background_loader import BackgroundLoader
from orchestrator.inference.embedded.control_client import ControlClient, ServerFailed
from orchestrator.inference.embedded.fault_detection import Fault, FaultDetector
from orchestrator.inference.embedded.process import ServerProcess
from orchestrator.inference.embedded.readiness import Readiness

logger = logging.getLogger(__name__)

REPEATED_FAULT_S: Final = 30.0
"""A model that fails again within this time causes a restart of the server."""

WORKING_WATCH_S: Final = 1.0
"""Time for which a suspected heavy model is watched for CPU use before its self test."""


class Healer:
    """Handles the faults of one life of the server; `run` ends with that life."""

    def __init__(
        self,
        process: ServerProcess,
        control: ControlClient,
        readiness: Readiness,
        faults: FaultDetector,
        loader: BackgroundLoader,
        *,
        essential: Collection[str],
        record_fault: Callable[[str], None],
    ) -> None:
        """Failed `essential` models are reloaded here, others by `loader` in the background.

        `record_fault` receives a line on each fault before it is healed.
        """
        self.is_healing = False
        self._process, self._control = process, control
        self._readiness, self._faults, self._loader = readiness, faults, loader
        self._essential = frozenset(essential)
        self._record_fault = record_fault
        self._healed_at_s: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Handle faults as they occur; raises `ServerFailed` when the server has to be replaced."""
        try:
            while True:
                await self._handle(await self._faults.next(self._control.answers))
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _handle(self, fault: Fault) -> None:
        if fault.model is None:
            raise ServerFailed(fault.reason)
        if fault.suspected:
            self._start_verification(fault.model, fault.reason)
        elif fault.model in self._essential:
            await self._heal(fault.model, fault.reason)
        else:
            self._record_fault(f"{fault.model}: {fault.reason}")
            self._loader.reload(fault.model, fault.reason)

    def _start_verification(self, model: str, reason: str) -> None:
        """Verify a suspected fault in a task of its own, one for each model.

        A heavy model answers slowly, and other faults have to be handled meanwhile.
        """
        if model in self._tasks:
            return
        task = asyncio.create_task(self._verify(model, reason), name=f"verify {model}")
        self._tasks[model] = task
        task.add_done_callback(lambda _: self._tasks.pop(model, None))

    async def _verify(self, model: str, reason: str) -> None:
        """Confirm a suspected fault if the self test fails; blame the server if that is silent."""
        if (
            not self._readiness.is_ready(model)
            or await self._is_working(model)
            or await self._is_sound(model)
        ):
            return
        self._faults.report(Fault(model if await self._control.answers() else None, reason))

    async def _is_sound(self, model: str) -> bool:
        """True if the model passes its self test, or is a heavy one that is still computing."""
        ticks = self._cpu_ticks(model)
        failure = await self._readiness.failure(self._control, model)
        found_meanwhile = not self._readiness.is_ready(model)
        if failure is None or found_meanwhile:
            return True
        return failure.silent and self._readiness.is_heavy(model) and self._cpu_ticks(model) > ticks

    async def _is_working(self, model: str) -> bool:
        """True if a heavy model uses the CPU: a late answer is then no fault of the instance."""
        if not self._readiness.is_heavy(model):
            return False
        ticks = self._cpu_ticks(model)
        await asyncio.sleep(WORKING_WATCH_S)
        return self._cpu_ticks(model) > ticks

    def _cpu_ticks(self, model: str) -> int:
        return cpu_ticks(self._process.stubs_of(model))

    async def _heal(self, model: str, reason: str) -> None:
        """Unload and load the model.

        Raises `ServerFailed` if that does not help or helped only a short while ago.
        """
        now_s = asyncio.get_running_loop().time()
        self._record_fault(f"{model}: {reason}")
        self._readiness.withdraw(reason, model)
        if now_s - self._healed_at_s.get(model, -REPEATED_FAULT_S) < REPEATED_FAULT_S:
            raise ServerFailed(f"{model}: {reason} (again)")
        logger.warning("%s: %s; loading it again", model, reason)
        self.is_healing = True
        self._healed_at_s[model] = now_s
        await asyncio.to_thread(kill_stubs, self._process.stubs_of(model))
        await self._control.unload(model)
        failed = await self._readiness.make_ready(self._control, model)
        if failed:
            raise ServerFailed(f"{model} failed to load again: {failed}")
        self._faults.watch(model)
        self.is_healing = False
        logger.info("%s is ready again", model)
