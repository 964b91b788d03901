"""The supervisor's side channel to its server: is it the right one, does it answer, load this
model, does it pass its canary.
"""

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
from orchestrator.inference.embedded.self_test import Canary
from orchestrator.inference.model_contract import ModelContract
from orchestrator.inference.triton.connection import Connection, open_channel

LOG = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 30.0
CONNECT_POLL_S: Final = 0.02
UNLOAD_TIMEOUT_S: Final = 3.0
PROBE_TIMEOUT_S: Final = 0.4
REASON_CHARACTERS: Final = 600

REFUSED_CODES: Final = {126: "is not executable", 127: "lacks a shared library"}
"""Exit codes of the launcher and of the dynamic linker."""


class ServerFailed(Exception):  # noqa: N818 - reads as what happened
    """The server has to be started again; the message says why."""


class CannotRun(ServerFailed):
    """The kernel or the dynamic linker refused the program, and would again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How a model failed its canary."""

    reason: str
    silent: bool = False
    """It did not answer in time, which a busy one may also do."""


class Control:
    """One channel to one life of the server."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process
        self._url = f"127.0.0.1:{process.ports.grpc}"
        self._channel = open_channel(self._url)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._connection = Connection(self._url, shm_prefix="")

    async def close(self) -> None:
        """Lets go of the channels."""
        await self._connection.close()
        await self._channel.close()

    async def wait_until_up(self, loading_s: float) -> None:
        """Returns when our server answers: its loads are done then, which may take `loading_s`.

        Raises `ServerFailed` if it ended, does not answer or is not ours, `CannotRun` if no program
        came to run.
        """
        patience_s = START_TIMEOUT_S + loading_s
        try:
            async with asyncio.timeout(patience_s):
                while not await _listens(self._process.ports.grpc):
                    if self._process.exit_code is not None:
                        raise _ended(self._process.exit_code, self._process.tail())
                    await asyncio.sleep(CONNECT_POLL_S)
        except TimeoutError:
            raise ServerFailed(
                f"tritonserver does not answer {patience_s:.0f} s after its "
                f"start:\n{self._process.tail()}"
            ) from None
        metadata = await self._stub.ServerMetadata(
            service_pb2.ServerMetadataRequest(), timeout=UNLOAD_TIMEOUT_S
        )
        if metadata.name != self._process.server_id:
            raise ServerFailed(f"another server answers at {self._url}")

    async def answers(self) -> bool:
        """Whether the server reacts within `PROBE_TIMEOUT_S`; a stall of our own loop is not held
        against it.
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
        """Loads unless it is ready; returns the reason if it could not be loaded, else nothing."""
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
        """Loading alone does not bring back an instance whose process died."""
        request: Any = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        await self._stub.RepositoryModelUnload(request, timeout=UNLOAD_TIMEOUT_S)

    async def ask(self, contract: ModelContract, canary: Canary) -> Failure | None:
        """Asks each instance; returns how one of them failed, if one did."""
        deadline = asyncio.get_running_loop().time() + answer_s(canary.answering_s)
        inputs = canary.question()
        failures = await asyncio.gather(
            *(self._ask(contract, canary, inputs, deadline) for _ in range(contract.instances))
        )
        return next(filter(None, failures), None)

    async def _ask(
        self, contract: ModelContract, canary: Canary, inputs: Tensors, deadline: float
    ) -> Failure | None:
        try:
            outputs = await self._connection.infer(
                contract, inputs, contract.check(inputs), deadline
            )
        except InferenceError as error:
            return Failure(str(error), silent=error.code is LipSyncErrorCode.TIMEOUT)
        return (
            None
            if canary.passed(outputs)
            else Failure("the canary inference brought another answer than the known one")
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
    """What the server said, without the traceback that follows a Python exception."""
    return (error.details() or str(error.code())).split("\n\nAt:")[0].strip()[:REASON_CHARACTERS]
