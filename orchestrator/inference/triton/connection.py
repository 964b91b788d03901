"""One channel to one life of one server: requests, deadlines, registered shared memory."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
from typing import Any, Final

import grpc
from grpc import StatusCode
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2_grpc

from orchestrator.core.tracing import request_metadata
from orchestrator.inference import InferenceError, Tensors
from orchestrator.inference.model_contract import ModelContract
from orchestrator.inference.triton.addresses import split_url
from orchestrator.inference.triton.shared_memory import UNANSWERED_CODES, Loan, SharedMemory
from orchestrator.inference.triton.shared_memory_ring import Slot
from orchestrator.inference.triton.status_codes import (
    LOST_REGION,
    SHORT_REGION,
    error_of,
    timed_out,
)
from orchestrator.inference.triton.tensor_codec import decode, encode, worth_sharing

logger = logging.getLogger(__name__)

CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", 256 << 20),
    ("grpc.max_receive_message_length", 256 << 20),
    ("grpc.http2.max_frame_size", 1 << 20),  # an image in one frame instead of sixteen
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    (
        "grpc.use_local_subchannel_pool",
        1,
    ),  # a new channel must not inherit the backoff of one to a dead server
)

PROXY_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
NO_PROXY_VARIABLES: Final = ("no_grpc_proxy", "no_proxy")
"""Variables that gRPC reads, in its order: the first that is set counts.

Hosts whose names end as an entry of `no_proxy` are reached directly. Source:
https://github.com/grpc/grpc/blob/master/doc/environment_variables.md
"""


def open_channel(url: str, *, name: str = "") -> Any:
    """Open a `grpc.aio` channel with the service's limits; a loopback server uses no proxy.

    `name` is the `host:port` that `url` was resolved from. It stays the request's authority, by
    which gateways route. No proxy is used then: that decision was made for the name before it was
    resolved.
    """
    direct = (("grpc.enable_http_proxy", 0),) if name or is_loopback(url) else ()
    authority = (("grpc.default_authority", name),) if name else ()
    return grpc.aio.insecure_channel(url, options=CHANNEL_OPTIONS + direct + authority)


def is_loopback(url: str) -> bool:
    """True if the server is on this host: memory can be shared, and no proxy lies between."""
    host = split_url(url)[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def proxy_of(url: str) -> str:
    """Name of the environment variable whose proxy gRPC uses for `url`; empty without a proxy."""
    host = split_url(url)[0]
    set_first = next((name for name in PROXY_VARIABLES if os.environ.get(name)), "")
    spared = next(
        (named for name in NO_PROXY_VARIABLES if (named := os.environ.get(name))), ""
    ).split(",")
    direct = is_loopback(url) or any(host.endswith(each.strip()) for each in spared if each.strip())
    return "" if direct else set_first


class Connection:
    """Sends requests to one server until it is closed; a restarted server gets a new connection."""

    def __init__(self, url: str, *, shm_prefix: str, name: str = "") -> None:
        """Open the channel.

        `shm_prefix` starts the names of shared memory segments; empty if tensors travel as bytes.
        `name` as in `open_channel`.
        """
        self._channel = open_channel(url, name=name)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._shared = SharedMemory(self._stub, shm_prefix)
        self._item_bytes: dict[str, int] = {}

    async def close(self) -> None:
        """Cancel the requests in flight and release the shared memory."""
        await self._channel.close()
        self._shared.close()

    async def infer(
        self, contract: ModelContract, inputs: Tensors, batch: int, deadline: float
    ) -> dict[str, NDArray[Any]]:
        """Send one request; repeat it with bytes if the server refused the shared memory."""
        loan = await self._borrow(contract, inputs, batch)
        try:
            return await self._ask(contract, inputs, batch, deadline, loan)
        except _Refused as refusal:
            logger.info("%s: shared memory refused (%s)", contract.name, refusal)
            if LOST_REGION in str(refusal):
                self._shared.forget()
        return await self._ask(contract, inputs, batch, deadline, None)

    async def _borrow(self, contract: ModelContract, inputs: Tensors, batch: int) -> Loan | None:
        """Borrow a slot; outputs of unknown size are assumed to be as large as last time."""
        outputs = self._item_bytes.get(contract.name, 0) * batch
        known = worth_sharing(contract, inputs, batch)
        return await self._shared.lend(known + (outputs if contract.answers_vary else 0), outputs)

    async def _ask(
        self,
        contract: ModelContract,
        inputs: Tensors,
        batch: int,
        deadline: float,
        loan: Loan | None,
    ) -> dict[str, NDArray[Any]]:
        now, slot = asyncio.get_running_loop().time, None if loan is None else loan.slot
        sent_at, settled = now(), True
        try:
            request, offsets = encode(
                contract, inputs, batch, slot, "" if loan is None else loan.ring.key
            )
            if sent_at >= deadline:
                raise timed_out(contract.name)
            settled = False  # from here on the server may write into the slot
            answer = await self._call(contract.name, request, deadline - sent_at)
            settled = True
            outputs = _decoded(contract.name, answer, slot, offsets)
        except grpc.aio.AioRpcError as error:
            settled = error.code() not in UNANSWERED_CODES
            raise _translated(contract.name, error, slot) from None
        finally:
            self._shared.settle(loan, contract.name, sent_at, now(), answered=settled)
        self._item_bytes[contract.name] = sum(output.nbytes for output in outputs.values()) // batch
        return outputs

    async def _call(self, model: str, request: Any, timeout_s: float) -> Any:
        try:
            return await self._stub.ModelInfer(
                request, timeout=timeout_s, metadata=request_metadata()
            )
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # gRPC reports the same when the channel was closed during the request
            raise error_of(model, StatusCode.UNAVAILABLE, "the connection was closed") from None


class _Refused(Exception):  # noqa: N818 - not an error of the request
    """The server could not use the shared memory of the request."""


def _decoded(
    model: str, answer: Any, slot: Slot | None, offsets: dict[str, int]
) -> dict[str, NDArray[Any]]:
    try:
        return decode(answer, slot, offsets)
    except (ValueError, KeyError) as error:
        raise error_of(
            model, StatusCode.DATA_LOSS, f"invalid answer of the server: {error}"
        ) from error


def _translated(
    model: str, error: grpc.aio.AioRpcError, slot: Slot | None
) -> InferenceError | _Refused:
    message = error.details() or ""
    if slot is not None and (LOST_REGION in message or SHORT_REGION in message):
        return _Refused(message)
    return error_of(model, error.code(), message)
