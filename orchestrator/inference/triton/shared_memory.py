"""Shared memory for the requests of one connection: rings of small and of large slots.

The large ring is allocated when a large tensor first needs it. Sent as bytes, 9 MB stall the event
loop, and so every session, for tens of milliseconds; in shared memory for two.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc import StatusCode
from tritonclient.grpc import service_pb2

from orchestrator.inference.triton.shared_memory_ring import (
    LARGE_SLOT_BYTES,
    LARGE_SLOTS,
    SLOT_BYTES,
    SLOTS,
    Slot,
    SlotRing,
)

logger = logging.getLogger(__name__)

REGISTER_TIMEOUT_S: Final = 1.0

UNANSWERED_CODES: Final = frozenset(
    {StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.UNKNOWN}
)
"""Statuses after which the server may still be at work on the request."""

SLOTS_BY_BYTES: Final = {SLOT_BYTES: SLOTS, LARGE_SLOT_BYTES: LARGE_SLOTS}
"""Number of slots by slot size in bytes, smallest ring first.

A ring is allocated when the first request needs it.
"""


@dataclass(frozen=True, slots=True)
class Loan:
    """A borrowed slot and the ring that it returns to."""

    ring: SlotRing
    slot: Slot


class SharedMemory:
    """The rings that are registered with one server.

    `prefix` starts the names of segments; empty where all tensors travel as bytes.
    """

    def __init__(self, stub: Any, prefix: str) -> None:
        self._stub = stub
        self._prefix = prefix
        self._rings: dict[int, SlotRing] = {}
        self._wanted = set(SLOTS_BY_BYTES) if prefix else set()
        self._registering = asyncio.Lock()

    async def lend(self, inputs_and_outputs: int, outputs: int) -> Loan | None:
        """Borrow a slot for this many bytes; None if the tensors have to travel as bytes.

        None if sharing is off, no slot is free, or the outputs do not fit. Inputs that do not fit
        travel as bytes beside those that do.
        """
        slot_bytes = next(
            (size for size in SLOTS_BY_BYTES if inputs_and_outputs <= size), LARGE_SLOT_BYTES
        )
        if outputs > slot_bytes:
            return None
        if slot_bytes in self._wanted:
            async with self._registering:
                await self._register(slot_bytes)
        ring = self._rings.get(slot_bytes)
        slot = None if ring is None else ring.take()
        return None if ring is None or slot is None else Loan(ring, slot)

    def settle(
        self, loan: Loan | None, model: str, sent_at: float, now: float, *, answered: bool
    ) -> None:
        """End a loan; the server may still write into the slot unless it `answered`."""
        if answered:
            for ring in self._rings.values():
                ring.answered(model, sent_at, now)
        if loan is None:
            return
        if answered:
            loan.ring.give_back(loan.slot)
        else:
            loan.ring.abandon(loan.slot, model, now)

    def free(self, slot_bytes: int) -> int:
        """Number of slots of that size that are free now."""
        return self._rings[slot_bytes].free if slot_bytes in self._rings else 0

    def forget(self) -> None:
        """Drop the rings after a restart of the server; the next requests register new ones.

        A restarted server no longer writes into the old ones.
        """
        self.close()
        self._wanted |= set(SLOTS_BY_BYTES) if self._prefix else set()

    def close(self) -> None:
        """Release all shared memory."""
        for ring in self._rings.values():
            ring.close()
        self._rings.clear()

    async def _register(self, slot_bytes: int) -> None:
        if slot_bytes not in self._wanted:
            return
        key = f"{self._prefix}{uuid.uuid4().hex[:12]}"
        try:
            # zeroing it takes a while
            ring = await asyncio.to_thread(SlotRing, key, SLOTS_BY_BYTES[slot_bytes], slot_bytes)
        except OSError as error:
            self._wanted.discard(slot_bytes)
            logger.warning(
                "no shared memory for tensors of up to %d MiB, they travel as bytes: %s",
                slot_bytes >> 20,
                error,
            )
            return
        message = service_pb2.SystemSharedMemoryRegisterRequest(
            name=ring.key, key=f"/{ring.key}", byte_size=ring.nbytes
        )
        try:
            await self._stub.SystemSharedMemoryRegister(message, timeout=REGISTER_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            ring.close()
            # otherwise the server is unreachable, not the memory
            if error.code() not in UNANSWERED_CODES:
                self._wanted.discard(slot_bytes)
            logger.info("shared memory not registered: %s", error.details())
        else:
            self._rings[slot_bytes] = ring
            self._wanted.discard(slot_bytes)
