"""Requests to a live server: batches, deadlines, cancellation, errors, and shared memory that
equals bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import aiohttp
import numpy as np
import pytest
from closed_port import closed_port
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc
from watched_server import executions, until

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError, NotCached, NotServed
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_contract import Repository
from orchestrator.inference.triton import external_server
from orchestrator.inference.triton.connection import open_channel
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.inference.triton.shared_memory_ring import (
    LARGE_SLOT_BYTES,
    LARGE_SLOTS,
    SLOT_BYTES,
    SLOTS,
)

MOST_ROWS = 16
"""Of an execution of `painter`."""


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


def painting(
    side: int = 32, count: int = 1, sleep_ms: float = 0.0, blob: NDArray[np.uint8] | None = None
) -> dict[str, NDArray[Any]]:
    inputs = {
        "side": np.full((count, 1), side, np.float32),
        "sleep_ms": np.full((count, 1), sleep_ms, np.float32),
    }
    return inputs if blob is None else inputs | {"blob": blob}


def mel(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 88, 80)).astype(np.float32)


async def pending(server: EmbeddedTriton, model: str) -> int:
    """Requests that wait in the server's queue of a model."""
    async with aiohttp.ClientSession() as http, http.get(server.metrics_url) as answer:
        lines = (await answer.text()).splitlines()
    name = f'nv_inference_pending_request_count{{model="{model}",'
    return next((int(line.split()[-1]) for line in lines if line.startswith(name)), 0)


async def are_pending(server: EmbeddedTriton, model: str, requests: int) -> bool:
    """At least so many."""
    return await pending(server, model) >= requests


def slots_free(inference: TritonInference, slot_bytes: int = SLOT_BYTES) -> int:
    (link,) = inference._links._links.values()
    return link.connection._shared.free(slot_bytes)


async def test_server_and_this_process_give_the_same_answer(
    inference: TritonInference, repository: Repository
) -> None:
    async with LocalInference(repository) as local:
        for model, inputs in (("audio2motion", {"mel": mel(3)}), ("tpsm", probe_motion())):
            ours = await local.infer(model, inputs, deadline=soon())
            theirs = await inference.infer(model, inputs, deadline=soon())
            assert ours.keys() == theirs.keys()
            for name, value in ours.items():
                np.testing.assert_allclose(theirs[name], value, atol=1e-5)


def probe_motion() -> dict[str, NDArray[Any]]:
    return {
        "motion": np.linspace(0, 1, 22, dtype=np.float32).reshape(2, 11),
        "face": np.zeros((2, 32), np.uint8),
    }


async def test_requests_of_several_clients_run_as_one_batch(
    embedded_triton: EmbeddedTriton, repository: Repository
) -> None:
    before = await executions(embedded_triton, "audio2motion")
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(TritonInference([embedded_triton], repository))
            for _ in range(4)
        ]
        windows = [mel(2, seed) for seed in range(32)]
        answers = await asyncio.gather(
            *(
                clients[seed % 4].infer("audio2motion", {"mel": window}, deadline=soon())
                for seed, window in enumerate(windows)
            )
        )
        alone = await clients[0].infer("audio2motion", {"mel": windows[5]}, deadline=soon())
    after = await executions(embedded_triton, "audio2motion")
    np.testing.assert_allclose(answers[5]["motion"], alone["motion"], atol=1e-5)
    assert after[0] - before[0] == 66
    assert after[1] - before[1] < 33, "no two requests were fused"


async def test_shared_memory_brings_what_bytes_bring(
    embedded_triton: EmbeddedTriton, repository: Repository
) -> None:
    blob = np.random.default_rng(1).integers(0, 255, (2, 50_000), dtype=np.uint8)
    inputs = painting(side=256, count=2, blob=blob)
    async with (
        TritonInference([embedded_triton], repository, shared_memory=True) as sharing,
        TritonInference([embedded_triton], repository, shared_memory=False) as sending,
    ):
        shared = await sharing.infer("painter", inputs, deadline=soon())
        sent = await sending.infer("painter", inputs, deadline=soon())
        assert slots_free(sharing) == SLOTS
    assert shared["frames"].shape == (2, 256, 256, 3)
    for name in sent:
        np.testing.assert_array_equal(shared[name], sent[name])
    assert shared["blob_sum"][:, 0].tolist() == blob.sum(axis=1).tolist()


async def test_outputs_larger_than_a_slot_travel_as_bytes_and_then_in_a_larger_one(
    inference: TritonInference,
) -> None:
    side = 1024
    for _ in range(3):
        frames = (await inference.infer("painter", painting(side, count=2), deadline=soon()))[
            "frames"
        ]
        assert frames.nbytes > SLOT_BYTES
        assert frames.reshape(-1)[:251].tolist() == list(range(251))
    assert slots_free(inference) == SLOTS
    assert slots_free(inference, LARGE_SLOT_BYTES) == LARGE_SLOTS


@pytest.mark.parametrize(
    "nbytes", [SLOT_BYTES + 1, LARGE_SLOT_BYTES + 1], ids=["a small slot", "any slot"]
)
async def test_inputs_larger_than_a_slot_travel_whole(
    inference: TritonInference, nbytes: int
) -> None:
    blob = np.zeros((1, nbytes), np.uint8)
    blob[0, [0, -1]] = 3, 4
    answer = await inference.infer("painter", painting(blob=blob), deadline=soon())
    assert answer["blob_sum"].item() == 7
    assert slots_free(inference, LARGE_SLOT_BYTES) == LARGE_SLOTS


async def test_small_requests_do_not_wait_for_large_ones(inference: TritonInference) -> None:
    large = [np.full((1, 2 * SLOT_BYTES), number, np.uint8) for number in range(LARGE_SLOTS + 2)]
    asked = [inference.infer("painter", painting(blob=blob), deadline=soon(60)) for blob in large]
    answers, small = await asyncio.gather(
        asyncio.gather(*asked), inference.infer("painter", painting(64), deadline=soon(60))
    )
    assert [answer["blob_sum"].item() for answer in answers] == [
        number * 2 * SLOT_BYTES for number in range(LARGE_SLOTS + 2)
    ]
    assert small["frames"].shape == (1, 64, 64, 3)
    assert (slots_free(inference), slots_free(inference, LARGE_SLOT_BYTES)) == (SLOTS, LARGE_SLOTS)


async def test_more_requests_than_slots_are_all_answered(inference: TritonInference) -> None:
    answers = await asyncio.gather(
        *(inference.infer("painter", painting(64 + i), deadline=soon()) for i in range(3 * SLOTS))
    )
    assert [answer["frames"].shape[1] for answer in answers] == [64 + i for i in range(3 * SLOTS)]


async def test_a_server_that_forgot_the_shared_memory_gets_it_again(
    embedded_triton: EmbeddedTriton, inference: TritonInference
) -> None:
    await inference.infer("painter", painting(128), deadline=soon())
    async with open_channel(embedded_triton.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await stub.SystemSharedMemoryUnregister(service_pb2.SystemSharedMemoryUnregisterRequest())
        for _ in range(2):
            assert (await inference.infer("painter", painting(128), deadline=soon()))[
                "frames"
            ].shape == (1, 128, 128, 3)
        status = await stub.SystemSharedMemoryStatus(service_pb2.SystemSharedMemoryStatusRequest())
    assert len(status.regions) == 1


async def test_a_late_answer_is_a_timeout_and_its_slot_is_not_lent_again(
    inference: TritonInference,
) -> None:
    await inference.infer("painter", painting(), deadline=soon())
    with pytest.raises(InferenceError) as raised:
        await inference.infer("painter", painting(256, sleep_ms=300), deadline=soon(0.1))
    assert raised.value.code is LipSyncErrorCode.TIMEOUT
    await inference.infer("painter", painting(), deadline=soon())
    assert slots_free(inference) == SLOTS - 1


async def test_a_deadline_in_the_past_asks_nobody(
    embedded_triton: EmbeddedTriton, inference: TritonInference
) -> None:
    before = await executions(embedded_triton, "painter")
    with pytest.raises(InferenceError) as raised:
        await inference.infer("painter", painting(), deadline=time.monotonic() - 1)
    assert raised.value.code is LipSyncErrorCode.TIMEOUT
    assert await executions(embedded_triton, "painter") == before


async def test_cancelled_requests_are_dropped_in_the_servers_queue(
    embedded_triton: EmbeddedTriton, inference: TritonInference
) -> None:
    await inference.infer("painter", painting(), deadline=soon())
    # Each fills a batch, and so they hold the others up one after the other, until all of these are
    # there.
    busy = [painting(count=MOST_ROWS, sleep_ms=500) for _ in range(100)]
    waiting = [
        asyncio.create_task(inference.infer("painter", inputs, deadline=soon(120)))
        for inputs in busy
    ]
    waiting += [
        asyncio.create_task(inference.infer("painter", painting(), deadline=soon(120)))
        for _ in range(200)
    ]
    await until(lambda: are_pending(embedded_triton, "painter", 250))
    before, _ = await executions(embedded_triton, "painter")
    for task in waiting:
        task.cancel()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[len(busy) :])
    await inference.infer("painter", painting(), deadline=soon())
    after, _ = await executions(embedded_triton, "painter")
    assert after - before < 150, (
        "batches that already wait for the instance are fixed, the rest of the queue is not"
    )


async def test_an_unknown_face_can_be_told_from_an_unknown_model(
    inference: TritonInference,
) -> None:
    with pytest.raises(NotCached, match="unknown face"):
        await inference.infer("painter", painting(13), deadline=soon())
    with pytest.raises(NotCached, match="unknown face"):
        motion = np.zeros((1, 11), np.float32)
        await inference.infer(
            "tpsm", {"motion": motion, "face": np.full((1, 32), 7, np.uint8)}, deadline=soon()
        )
    with pytest.raises(NotServed, match="nobody: no such model") as raised:
        await inference.infer("nobody", {}, deadline=soon())
    assert raised.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED


async def test_a_wrong_shape_is_found_before_the_server_is_asked(
    embedded_triton: EmbeddedTriton, inference: TritonInference
) -> None:
    before = await executions(embedded_triton, "audio2motion")
    with pytest.raises(InferenceError, match=r"expected \[batch, 88, 80\]") as raised:
        await inference.infer(
            "audio2motion", {"mel": np.zeros((1, 16, 80), np.float32)}, deadline=soon()
        )
    assert raised.value.code is LipSyncErrorCode.VIDEO_GENERATION_FAILED
    assert await executions(embedded_triton, "audio2motion") == before


async def test_an_address_is_polled_and_one_without_a_server_is_never_ready(
    embedded_triton: EmbeddedTriton, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_server, "TIMEOUT_S", 60.0)
    with closed_port() as port:
        await ask_beside_nobody(embedded_triton, repository, f"127.0.0.1:{port}")


async def ask_beside_nobody(
    embedded_triton: EmbeddedTriton, repository: Repository, nobody: str
) -> None:
    async with TritonInference([nobody, embedded_triton.url], repository) as inference:
        assert await inference.ready("painter")
        assert not await inference.ready("nobody")
        for _ in range(3):
            assert (await inference.infer("painter", painting(), deadline=soon()))[
                "frames"
            ].shape == (1, 32, 32, 3)
    async with TritonInference([nobody], repository) as inference:
        assert not await inference.ready("painter")
        with pytest.raises(InferenceError) as raised:
            await inference.infer("painter", painting(), deadline=soon())
    assert raised.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED
