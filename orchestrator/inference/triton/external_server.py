"""Poller of a Triton that others operate: the models that it has ready."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Sequence
from typing import Any, Final

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from orchestrator.inference import InferenceError
from orchestrator.inference.model_contract import Repository
from orchestrator.inference.model_fingerprint import Stamp
from orchestrator.inference.triton.addresses import joined, split_url
from orchestrator.inference.triton.connection import open_channel, proxy_of

logger = logging.getLogger(__name__)

POLL_S: Final = 1.0
TIMEOUT_S: Final = 1.0

METRICS_PORT: Final = 8002
"""Default metrics port of Triton; for another one configure the address."""


class ExternalServer:
    """One address of `triton_url`, or one behind a name of it."""

    life = 0  # restarts show as lost shared memory, which the connection registers again

    def __init__(self, url: str, repository: Repository, *, name: str = "") -> None:
        """Set up the poller; `start` begins to poll.

        `name` is the `host:port` that `url` was resolved from; such a server is reached directly.
        """
        self.url = url
        self.name = name
        self.metrics_url = f"http://{joined(split_url(url)[0], str(METRICS_PORT))}/metrics"
        self._models = tuple(repository.models)
        self._ready: frozenset[str] = frozenset()
        self._logged: tuple[frozenset[str], bool] | None = None
        """Last logged state: the ready models, and whether the server was unreachable."""
        self._look_now = asyncio.Event()
        self._channel: Any = None
        self._task: asyncio.Task[None] | None = None

    @property
    def label(self) -> str:
        """Address, and the name that it belongs to, for the log."""
        return f"{self.url} ({self.name})" if self.name else self.url

    async def start(self) -> None:
        """Poll once, so that the first chunk finds a state, then keep polling."""
        self._channel = open_channel(self.url, name=self.name)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        await self._look()
        self._task = asyncio.create_task(self._poll(), name=f"poll triton {self.url}")

    async def stop(self) -> None:
        """End the poller."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._channel is not None:
            await self._channel.close()

    @property
    def has_any_ready(self) -> bool:
        """True if any model was ready at the last poll."""
        return bool(self._ready)

    def has_ready(self, model: str) -> bool:
        """True if the model was ready at the last poll."""
        return model in self._ready

    def loaded_from(self, model: str) -> Stamp | None:
        """None: the files are on the server's machine."""
        return None

    def memory_mb(self) -> dict[str, float]:
        """Empty: the server's processes cannot be inspected from here."""
        return {}

    def report_failure(self, model: str, error: InferenceError) -> None:
        """Poll now instead of at the next interval."""
        self._look_now.set()

    async def _poll(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._look_now.wait()
            self._look_now.clear()
            await self._look()

    async def _look(self) -> None:
        faults = dict(
            zip(self._models, await asyncio.gather(*map(self._fault, self._models)), strict=True)
        )
        before, self._ready = (
            self._ready,
            frozenset(model for model, fault in faults.items() if fault is None),
        )
        self._log_changes(before - self._ready, [fault for fault in faults.values() if fault])

    def _log_changes(self, lost: Collection[str], faults: Sequence[str]) -> None:
        """Log changes only: a server that stays away is polled every second and logged once."""
        silent = bool(faults) and len(faults) == len(self._models)
        state = (self._ready, silent)
        if state == self._logged:
            return
        self._logged = state
        named = ", ".join(sorted(self._ready))
        if lost:
            why = f" ({faults[0]})" if faults else ""
            logger.warning(
                "Triton at %s lost %s%s; it has ready: %s",
                self.label,
                ", ".join(sorted(lost)),
                why,
                named or "nothing",
            )
        elif self._ready:
            logger.info("Triton at %s has ready: %s", self.label, named)
        else:
            why = (
                f"does not answer ({faults[0]})"
                if silent
                else "answers, and has no model of ours ready"
            )
            logger.warning(
                "Triton at %s %s; polling every %g s%s",
                self.label,
                why,
                POLL_S,
                self._proxied(),
            )

    def _proxied(self) -> str:
        variable = "" if self.name else proxy_of(self.url)
        host = split_url(self.url)[0]
        return (
            f", through the proxy of {variable}: add {host} to no_proxy to connect directly"
            if variable
            else ""
        )

    async def _fault(self, model: str) -> str | None:
        """None if the model is ready, empty if the server denies it, else why no answer came."""
        request: Any = service_pb2.ModelReadyRequest(name=model)
        try:
            return None if (await self._stub.ModelReady(request, timeout=TIMEOUT_S)).ready else ""
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
