"""Load models one by one while the server already serves.

A large, broken or missing model therefore delays no other. Models that fail later are reloaded here
too, unless the server's start depends on them. Nothing here restarts the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Final

import grpc

from orchestrator.core.backoff import Backoff
from orchestrator.inference.embedded.backend_processes import kill_stubs, lower_priority
from orchestrator.inference.embedded.control_client import ControlClient
from orchestrator.inference.embedded.fault_detection import FaultDetector
from orchestrator.inference.embedded.process import ServerProcess
from orchestrator.inference.embedded.readiness import READY, Readiness

logger = logging.getLogger(__name__)

RETRIES: Final = Backoff(5.0, 60.0)
"""Waits before another attempt to load a model."""

STUB_POLL_S: Final = 0.1
"""Poll interval for a heavy model's backend processes while it is being loaded."""


class BackgroundLoader:
    """Loads models during one life of the server; `run` is a task of the supervisor."""

    def __init__(
        self,
        readiness: Readiness,
        process: ServerProcess,
        control: ControlClient,
        faults: FaultDetector,
    ) -> None:
        self._readiness = readiness
        self._process = process
        self._control = control
        self._faults = faults
        self._due_s: dict[str, float] = {}
        self._waits_s: dict[str, float] = {}
        self._ready_at_s: dict[str, float] = {}
        self._wake = asyncio.Event()

    def schedule(self, models: Iterable[str], *, after_s: float = 0.0) -> None:
        """Queue these models for loading in this order, now or after a delay."""
        self._due_s |= dict.fromkeys(models, asyncio.get_running_loop().time() + after_s)
        self._wake.set()

    def reload(self, model: str, reason: str) -> None:
        """Unload a model that failed and load it again, with growing waits between failures."""
        self._readiness.withdraw(reason, model)
        self._faults.forget(model)
        if asyncio.get_running_loop().time() - self._ready_at_s.get(model, 0.0) >= RETRIES.max_s:
            self._waits_s.pop(model, None)
        self._postpone(model, first_s=0.0)
        logger.warning("%s: %s; loading it again in the background", model, reason)
        self._wake.set()

    async def run(self) -> None:
        """Load queued models when they are due; never returns."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            due = next(
                (model for model, due_s in self._due_s.items() if due_s <= loop.time()), None
            )
            if due is not None:
                del self._due_s[due]
                await self._try(due)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(self._due_s.values(), default=None)):
                    await self._wake.wait()

    def _postpone(self, model: str, *, first_s: float) -> None:
        wait_s = self._waits_s.get(model, first_s)
        self._waits_s[model] = RETRIES.after(wait_s)
        self._due_s[model] = asyncio.get_running_loop().time() + wait_s

    async def _try(self, model: str) -> None:
        try:
            reason = await self._attempt(model)
        # the edge of one model: an unexpected error must not stop the others from being loaded
        except Exception as error:
            logger.exception("loading %s failed", model)
            reason = f"{type(error).__name__}: {error}"
        self._readiness.record(model, reason, quiet=bool(self._readiness.absent(model)))
        if reason != READY:
            self._postpone(model, first_s=RETRIES.first_s)
            return
        logger.info("model %s is ready", model)
        if model not in self._ready_at_s:
            self._waits_s.pop(model, None)
        self._ready_at_s[model] = asyncio.get_running_loop().time()

    async def _attempt(self, model: str) -> str:
        """Try to make the model ready; return the reason if it is not, else an empty string."""
        readiness = self._readiness
        reason = readiness.absent(model)
        if reason:
            return reason
        await self._clear(model)
        reason = (
            readiness.lacks_memory(model)
            or await readiness.measure(model)
            or await self._load(model)
        )
        if not reason and (failure := await readiness.failure(self._control, model)) is not None:
            reason = failure.reason
        if reason:
            await self._clear(model)
        else:
            self._faults.watch(model)
        return reason

    async def _load(self, model: str) -> str:
        """Load the model; lower a heavy one's priority while it still opens and warms up."""
        if not self._readiness.is_heavy(model):
            return await self._readiness.load(self._control, model)
        loading = asyncio.create_task(
            self._readiness.load(self._control, model), name=f"load {model}"
        )
        try:
            while (
                len(stubs := self._process.stubs_of(model))
                < self._readiness.contract(model).instances
                and not loading.done()
            ):
                await asyncio.wait([loading], timeout=STUB_POLL_S)
            lower_priority(stubs)
            return await loading
        finally:
            loading.cancel()

    async def _clear(self, model: str) -> None:
        """Kill the model's backend processes and unload it.

        Loading alone does not replace an instance whose process died, and a model that failed
        should not hold memory.
        """
        self._faults.forget(model)
        await asyncio.to_thread(kill_stubs, self._process.stubs_of(model))
        with contextlib.suppress(grpc.aio.AioRpcError):  # it was not loaded
            await self._control.unload(model)
