"""One channel to one life of one server: requests, their deadlines, and the shared memory registered there."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Any, Final

import grpc
from grpc import StatusCode
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from orchestrator.inference import InferenceError, Tensors
from orchestrator.inference.messages import decode, encode
from orchestrator.inference.repository import ModelContract
from orchestrator.inference.slots import Slot, SlotRing
from orchestrator.inference.statuses import LOST_REGION, SHORT_REGION, error_of, timed_out

LOG = logging.getLogger(__name__)

CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", 256 << 20),
    ("grpc.max_receive_message_length", 256 << 20),
    ("grpc.http2.max_frame_size", 1 << 20),  # a picture in one frame instead of sixteen
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel must not inherit the back-off of one to a dead server
)

REGISTER_TIMEOUT_S: Final = 1.0

UNANSWERED: Final = frozenset({StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.UNKNOWN})
"""Statuses after which the server may still be at work on the request."""


def open_channel(url: str) -> Any:
    """A `grpc.aio` channel with our limits."""
    return grpc.aio.insecure_channel(url, options=CHANNEL_OPTIONS)


def is_loopback(url: str) -> bool:
    """Whether the server is on this host, so that memory can be shared."""
    return url.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")


class Connection:
    """Sends requests to one server until it is closed. A restarted server gets a new connection."""

    def __init__(self, url: str, *, shm_prefix: str) -> None:
        """`shm_prefix` starts the names of shared memory segments; empty where everything travels as bytes."""
        self._channel = open_channel(url)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._shm_prefix = shm_prefix
        self._sharing = bool(shm_prefix)
        self._ring: SlotRing | None = None
        self._registering = asyncio.Lock()
        self._item_bytes: dict[str, int] = {}

    async def close(self) -> None:
        """Ends what is in flight and lets go of the shared memory."""
        await self._channel.close()
        if self._ring is not None:
            self._ring.close()

    async def infer(self, contract: ModelContract, inputs: Tensors, batch: int, deadline: float) -> dict[str, NDArray[Any]]:
        """Asks once; once more through bytes if the server refused the shared memory."""
        slot = await self._take_slot(contract, batch)
        try:
            return await self._ask(contract, inputs, batch, deadline, slot)
        except _Refused as refusal:
            LOG.info("%s: shared memory refused (%s)", contract.name, refusal)
            if LOST_REGION in str(refusal):
                self._drop_ring()
        return await self._ask(contract, inputs, batch, deadline, None)

    async def _ask(
        self, contract: ModelContract, inputs: Tensors, batch: int, deadline: float, slot: Slot | None
    ) -> dict[str, NDArray[Any]]:
        ring, now = self._ring, asyncio.get_running_loop().time
        sent_at, settled = now(), True
        try:
            request, offsets = encode(contract, inputs, batch, slot, "" if ring is None else ring.key)
            if sent_at >= deadline:
                raise timed_out(contract.name)
            settled = False  # from here on the server may write into the slot
            answer = await self._call(contract.name, request, deadline - sent_at)
            settled = True
            outputs = _decoded(contract.name, answer, slot, offsets)
        except grpc.aio.AioRpcError as error:
            settled = error.code() not in UNANSWERED
            raise _translated(contract.name, error, slot) from None
        finally:
            if ring is not None:
                self._settle(ring, slot, contract.name, sent_at, settled, now())
        self._item_bytes[contract.name] = sum(output.nbytes for output in outputs.values()) // batch
        return outputs

    async def _call(self, model: str, request: Any, timeout_s: float) -> Any:
        try:
            return await self._stub.ModelInfer(request, timeout=timeout_s)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # gRPC says the same when the channel was closed under the request
            raise error_of(model, StatusCode.UNAVAILABLE, "the connection was closed") from None

    @staticmethod
    def _settle(ring: SlotRing, slot: Slot | None, model: str, sent_at: float, settled: bool, now: float) -> None:
        if settled:
            ring.answered(model, sent_at, now)
        if slot is not None and settled:
            ring.give_back(slot)
        elif slot is not None:
            ring.abandon(slot, model, now)

    async def _take_slot(self, contract: ModelContract, batch: int) -> Slot | None:
        """None where bytes have to do: no sharing, no slot left, or outputs that did not fit last time."""
        if not self._sharing:
            return None
        if self._ring is None:
            async with self._registering:
                await self._register()
        if self._ring is None or self._item_bytes.get(contract.name, 0) * batch > self._ring.slot_bytes:
            return None
        return self._ring.take()

    async def _register(self) -> None:
        if self._ring is not None or not self._sharing:
            return
        try:
            ring = await asyncio.to_thread(SlotRing, f"{self._shm_prefix}{uuid.uuid4().hex[:12]}")  # zeroing it takes a while
        except OSError as error:
            self._sharing = False
            LOG.warning("no shared memory for tensors, they travel as bytes: %s", error)
            return
        message = service_pb2.SystemSharedMemoryRegisterRequest(name=ring.key, key=f"/{ring.key}", byte_size=ring.nbytes)
        try:
            await self._stub.SystemSharedMemoryRegister(message, timeout=REGISTER_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            ring.close()
            self._sharing = error.code() in UNANSWERED  # then it is the server that is away, not the memory
            LOG.info("shared memory not registered: %s", error.details())
        else:
            self._ring = ring

    def _drop_ring(self) -> None:
        """The server forgot it (it was restarted, so nobody writes any more): the next request registers another."""
        if self._ring is not None:
            self._ring.close()
        self._ring = None


class _Refused(Exception):  # noqa: N818 - not an error of the request
    """The server could not use the shared memory that it was offered."""


def _decoded(model: str, answer: Any, slot: Slot | None, offsets: dict[str, int]) -> dict[str, NDArray[Any]]:
    try:
        return decode(answer, slot, offsets)
    except (ValueError, KeyError) as error:
        raise error_of(model, StatusCode.DATA_LOSS, f"the answer makes no sense: {error}") from error


def _translated(model: str, error: grpc.aio.AioRpcError, slot: Slot | None) -> InferenceError | _Refused:
    message = error.details() or ""
    if slot is not None and (LOST_REGION in message or SHORT_REGION in message):
        return _Refused(message)
    return error_of(model, error.code(), message)
