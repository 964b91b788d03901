"""Each request gets a slot of the size that it needs, and bytes have to do where there is none."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from tritonclient.grpc import service_pb2_grpc

from orchestrator.inference.triton import shared_memory
from orchestrator.inference.triton.connection import open_channel
from orchestrator.inference.triton.shared_memory import SharedMemory

SMALL, LARGE = 4096, 65536


class Registry:
    """The server's side: takes note of segments."""

    def __init__(self) -> None:
        self.registered: list[Any] = []

    async def SystemSharedMemoryRegister(self, message: Any, timeout: float) -> None:  # noqa: N802, ASYNC109 - gRPC's ways
        self.registered.append(message)


@pytest.fixture(autouse=True)
def small_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "SLOTS_BY_BYTES", {SMALL: 2, LARGE: 1})
    monkeypatch.setattr(shared_memory, "LARGE_SLOT_BYTES", LARGE)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest_asyncio.fixture
async def shared(registry: Registry) -> AsyncIterator[SharedMemory]:
    shared = SharedMemory(registry, f"lipsync-test-{uuid4().hex[:8]}-")
    yield shared
    shared.close()


async def test_a_ring_is_reserved_when_the_first_request_wants_it(
    shared: SharedMemory, registry: Registry
) -> None:
    small = await shared.lend(100, 0)
    assert small is not None and len(small.slot.view) == SMALL
    assert [message.byte_size for message in registry.registered] == [2 * SMALL]
    large = await shared.lend(SMALL + 1, 0)
    assert large is not None and len(large.slot.view) == LARGE
    assert [message.byte_size for message in registry.registered] == [2 * SMALL, LARGE]


async def test_a_request_larger_than_any_slot_shares_what_fits_unless_its_answer_does_not(
    shared: SharedMemory,
) -> None:
    assert await shared.lend(LARGE + 1, LARGE + 1) is None
    loan = await shared.lend(LARGE + 1, 10)
    assert loan is not None and len(loan.slot.view) == LARGE


async def test_large_requests_do_not_use_up_the_small_slots(shared: SharedMemory) -> None:
    loan = await shared.lend(LARGE, 0)
    assert await shared.lend(LARGE, 0) is None
    assert await shared.lend(SMALL, 0) is not None
    shared.settle(loan, "sadtalker_renderer", sent_at=1.0, now=2.0, answered=True)
    assert await shared.lend(LARGE, 0) is not None


async def test_too_little_memory_for_large_slots_leaves_the_small_ones(
    shared: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "SLOTS_BY_BYTES", {SMALL: 2, LARGE: 1 << 40})
    assert await shared.lend(LARGE, 0) is None
    assert await shared.lend(SMALL, 0) is not None


async def test_a_server_that_forgot_everything_gets_new_segments(
    shared: SharedMemory, registry: Registry
) -> None:
    await shared.lend(SMALL, 0)
    shared.forget()
    assert await shared.lend(SMALL, 0) is not None
    assert len({message.key for message in registry.registered}) == 2


async def test_without_a_prefix_everything_travels_as_bytes(registry: Registry) -> None:
    assert await SharedMemory(registry, "").lend(1, 0) is None
    assert registry.registered == []


class SharesNothing(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A server from 26.04 on without `--allow-client-shm=true`; its status and words
    (src/grpc/grpc_server.cc, src/common.h).
    """

    def __init__(self) -> None:
        self.asked = 0

    def SystemSharedMemoryRegister(self, request: Any, context: Any) -> Any:  # noqa: N802 - Triton's name
        self.asked += 1
        text = (
            "Client shared memory is disabled. Start the server with '--allow-client-shm=true' "
            "to enable."
        )
        context.abort(grpc.StatusCode.UNIMPLEMENTED, text)


async def test_a_server_that_allows_no_sharing_is_asked_once_and_tensors_travel_as_bytes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "REGISTER_TIMEOUT_S", 60.0)
    server, refusing = grpc.server(ThreadPoolExecutor(1)), SharesNothing()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(refusing, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        shared = SharedMemory(
            service_pb2_grpc.GRPCInferenceServiceStub(channel), f"lipsync-test-{uuid4().hex[:8]}-"
        )
        with caplog.at_level(logging.INFO, logger=shared_memory.__name__):
            assert [await shared.lend(SMALL, 0) for _ in range(3)] == [None] * 3
        shared.close()
    server.stop(None).wait(5)
    assert refusing.asked == 1
    assert [
        record.getMessage().partition(". ")[0]
        for record in caplog.records
        if record.name == shared_memory.__name__
    ] == ["shared memory not registered: Client shared memory is disabled"]
