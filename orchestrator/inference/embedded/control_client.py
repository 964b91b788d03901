"""Control channel of the supervisor to its server: identity, liveness, loading, self tests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Any, Final

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError, Tensors
from orchestrator.inference.embedded.budgets import answer_s
from orchestrator.inference.embedded.process import ServerProcess
from orchestrator.inference.embedded.self_test import SelfTest
from orchestrator.inference.model_contract import ModelContract
from orchestrator.inference.triton.connection import Connection, open_channel

logger = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 30.0
CONNECT_POLL_S: Final = 0.02
UNLOAD_TIMEOUT_S: Final = 3.0
PROBE_TIMEOUT_S: Final = 0.4
MAX_REASON_CHARACTERS: Final = 600

REFUSED_CODES: Final = {126: "is not executable", 127: "lacks a shared library"}
"""Exit codes of the launcher and of the dynamic linker."""


class ServerFailed(Exception):  # noqa: N818 - reads as the event
    """The server has to be restarted; the message gives the reason."""


class CannotRun(ServerFailed):
    """The kernel or the dynamic linker refused the program, and would again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Result of a failed self test."""

    reason: str
    silent: bool = False
    """True if the model did not answer in time, which can also happen to a busy one."""


class ControlClient:
    """gRPC channel to one life of the server."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process
        self._url = f"127.0.0.1:{process.ports.grpc}"
        self._channel = open_channel(self._url)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._connection = Connection(self._url, shm_prefix="")

    async def close(self) -> None:
        """Close the channels."""
        await self._connection.close()
        await self._channel.close()

    async def wait_until_up(self, loading_s: float) -> None:
        """Wait until the server answers; its models are loaded then, which may take `loading_s`.

        Raises `ServerFailed` if it ended, does not answer or is another server, `CannotRun` if the
        program could not be executed.
        """
        timeout_s = START_TIMEOUT_S + loading_s
        try:
            async with asyncio.timeout(timeout_s):
                while not await _listens(self._process.ports.grpc):
                    if self._process.exit_code is not None:
                        raise _ended(self._process.exit_code, self._process.tail())
                    await asyncio.sleep(CONNECT_POLL_S)
        except TimeoutError:
            raise ServerFailed(
                f"tritonserver does not answer {timeout_s:.0f} s after its start:\n"
                f"{self._process.tail()}"
            ) from None
        metadata = await self._stub.ServerMetadata(
            service_pb2.ServerMetadataRequest(), timeout=UNLOAD_TIMEOUT_S
        )
        if metadata.name != self._process.server_id:
            raise ServerFailed(f"another server answers at {self._url}")

    async def answers(self) -> bool:
        """True if the server answers within `PROBE_TIMEOUT_S`.

        A stall of this process's event loop does not count as a failure.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return bool(
                (
                    await self._stub.ServerLive(
                        service_pb2.ServerLiveRequest(), timeout=PROBE_TIMEOUT_S
                    )
                ).live
            )
        except grpc.aio.AioRpcError:
            return loop.time() - began > 2 * PROBE_TIMEOUT_S

    async def load(self, model: str, timeout_s: float) -> str:
        """Load the model unless it is ready; return the reason of a failure, else empty."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            if (
                await self._stub.ModelReady(
                    service_pb2.ModelReadyRequest(name=model), timeout=UNLOAD_TIMEOUT_S
                )
            ).ready:
                return ""
        try:
            await self._stub.RepositoryModelLoad(
                service_pb2.RepositoryModelLoadRequest(model_name=model), timeout=timeout_s
            )
        except grpc.aio.AioRpcError as error:
            return _reason(error)
        return ""

    async def unload(self, model: str) -> None:
        """Unload the model: loading alone does not replace an instance whose process died."""
        request: Any = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        await self._stub.RepositoryModelUnload(request, timeout=UNLOAD_TIMEOUT_S)

    async def run_self_test(self, contract: ModelContract, self_test: SelfTest) -> Failure | None:
        """Run the self test on every instance; return the first failure, or None."""
        deadline = asyncio.get_running_loop().time() + answer_s(self_test.answer_cpu_s)
        inputs = self_test.make_inputs()
        failures = await asyncio.gather(
            *(
                self._test_instance(contract, self_test, inputs, deadline)
                for _ in range(contract.instances)
            )
        )
        return next(filter(None, failures), None)

    async def _test_instance(
        self, contract: ModelContract, self_test: SelfTest, inputs: Tensors, deadline: float
    ) -> Failure | None:
        try:
            outputs = await self._connection.infer(
                contract, inputs, contract.check(inputs), deadline
            )
        except InferenceError as error:
            return Failure(str(error), silent=error.code is LipSyncErrorCode.TIMEOUT)
        return (
            None
            if self_test.passed(outputs)
            else Failure("the self test failed: wrong outputs for a known request")
        )


def _ended(code: int, tail: str) -> ServerFailed:
    if code in REFUSED_CODES:
        return CannotRun(f"tritonserver {REFUSED_CODES[code]}: {tail}")
    return ServerFailed(f"tritonserver ended with code {code}:\n{tail}")


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _reason(error: grpc.aio.AioRpcError) -> str:
    """The server's message, without the traceback that follows a Python exception."""
    return (
        (error.details() or str(error.code())).split("\n\nAt:")[0].strip()[:MAX_REASON_CHARACTERS]
    )
