"""One life of the server, from its start to the fault that ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.embedded.background_loader import RETRIES, BackgroundLoader
from orchestrator.inference.embedded.control_client import ControlClient
from orchestrator.inference.embedded.fault_detection import Fault, FaultDetector
from orchestrator.inference.embedded.healing import Healer
from orchestrator.inference.embedded.process import ServerProcess
from orchestrator.inference.embedded.readiness import Readiness


class ServerLife:
    """Brings one launched server up and serves until it has to be replaced."""

    def __init__(
        self,
        process: ServerProcess,
        readiness: Readiness,
        models: Sequence[str],
        *,
        record_fault: Callable[[str], None],
    ) -> None:
        """`models` are loaded with the server's start; it is restarted if they cannot be healed.

        `record_fault` receives a line on each fault before it is healed.
        """
        self._readiness, self._models = readiness, models
        self._control = ControlClient(process)
        self._faults = FaultDetector(process)
        self._loader = BackgroundLoader(readiness, process, self._control, self._faults)
        self._healer = Healer(
            process,
            self._control,
            readiness,
            self._faults,
            self._loader,
            essential=models,
            record_fault=record_fault,
        )

    @property
    def is_healing(self) -> bool:
        """True while one of `models` is being reloaded."""
        return self._healer.is_healing

    async def bring_up(self) -> None:
        """Wait for the server and run the self tests of `models`.

        Raises `ServerFailed`, or `CannotRun` if the program could not be executed.
        """
        readiness, control = self._readiness, self._control
        present = [model for model in self._models if not readiness.absent(model)]
        await asyncio.gather(
            control.wait_until_up(readiness.start_allowance_s(present)),
            *map(readiness.measure, present),
        )
        await asyncio.gather(*(readiness.make_ready(control, model) for model in self._models))
        for model in self._models:
            self._faults.watch(model)

    def report_failure(self, model: str, error: InferenceError) -> None:
        """Suspect a model whose request failed by unavailability or ran into its deadline."""
        if error.code is LipSyncErrorCode.MODEL_LOAD_FAILED:
            self._faults.report(Fault(model, error.message, suspected=True))
        elif error.code is LipSyncErrorCode.TIMEOUT:
            self._faults.timed_out(model, asyncio.get_running_loop().time())

    async def serve(self, later: Sequence[str]) -> None:
        """Load the models of `later` and heal faults; never returns, raises what ends this life."""
        failed = [model for model in self._models if self._readiness.reasons[model]]
        self._loader.schedule(later)
        self._loader.schedule(failed, after_s=RETRIES.first_s)
        loading = asyncio.create_task(self._loader.run(), name="load models")
        try:
            await self._healer.run()
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)

    async def close(self) -> None:
        """Close the connections to the server; the process is not touched."""
        await self._control.close()
