"""Requests of several sessions run as one batch, and those whose shapes differ do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest_asyncio
from numpy.typing import NDArray
from tiny_models import LABOUR, ROWS, add_labour, add_rows
from tritonclient.grpc import service_pb2, service_pb2_grpc
from watched_server import until

from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import Repository, read_repository
from orchestrator.inference.triton.connection import open_channel
from orchestrator.inference.triton.inference import TritonInference

TRIES = 10

ALIKE = 24
"""Requests at once: while the first few run, the others wait in line."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(tmp_path_factory: Any) -> AsyncIterator[tuple[EmbeddedTriton, Repository]]:
    path: Path = tmp_path_factory.mktemp("repository")
    add_rows(path)
    add_labour(path, products=20)
    async with EmbeddedTriton(path, (ROWS, LABOUR)) as server:
        while not (server.has_ready(ROWS) and server.has_ready(LABOUR)):
            assert server.restarts < 5, server.health()
            await asyncio.sleep(0.05)
        yield server, read_repository(path)


@pytest_asyncio.fixture(loop_scope="session")
async def sessions(
    served: tuple[EmbeddedTriton, Repository],
) -> AsyncIterator[list[TritonInference]]:
    """Two, each with its own connection."""
    server, repository = served
    async with (
        TritonInference([server], repository) as first,
        TritonInference([server], repository) as second,
    ):
        yield [first, second]


async def statistics(server: EmbeddedTriton, model: str) -> NDArray[np.int64]:
    """Requests answered, their items, and the executions that these took."""
    async with open_channel(server.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        (stats,) = (
            await stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name=model))
        ).model_stats
    return np.array(
        [stats.inference_stats.success.count, stats.inference_count, stats.execution_count]
    )


async def ask(
    served: tuple[EmbeddedTriton, Repository],
    sessions: list[TritonInference],
    model: str,
    inputs: list[dict[str, NDArray[Any]]],
) -> tuple[list[dict[str, NDArray[Any]]], list[int]]:
    """All at once, in turn by each session; the answers, and the statistics of these requests
    alone.
    """
    before = await statistics(served[0], model)
    asked = (
        sessions[number % 2].infer(model, each, deadline=time.monotonic() + 120)
        for number, each in enumerate(inputs)
    )
    answers = await asyncio.gather(*asked)

    async def are_counted() -> bool:  # which a server does once it has answered
        return bool((await statistics(served[0], model))[0] >= before[0] + len(inputs))

    await until(are_counted)
    return answers, (await statistics(served[0], model) - before).tolist()


async def ask_until_fused(
    served: tuple[EmbeddedTriton, Repository],
    sessions: list[TritonInference],
    model: str,
    inputs: list[dict[str, NDArray[Any]]],
) -> tuple[list[dict[str, NDArray[Any]]], list[int]]:
    """The same, anew until an execution took several: a machine that is busy with others may bring
    them one by one.
    """
    for _ in range(TRIES):
        answers, counted = await ask(served, sessions, model, inputs)
        if counted[2] < counted[0]:
            return answers, counted
    raise AssertionError(
        f"no two of {counted[0]} requests to {model} were fused in the last of {TRIES} tries"
    )


def rows(count: int, first: float, items: int = 1) -> dict[str, NDArray[Any]]:
    return {"rows": np.arange(items * count * 3, dtype=np.float32).reshape(items, count, 3) + first}


def check_doubled(
    inputs: list[dict[str, NDArray[Any]]], answers: list[dict[str, NDArray[Any]]]
) -> None:
    for each, answer in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(answer["doubled"], 2 * each["rows"])


async def test_requests_of_two_sessions_are_fused(
    served: Any, sessions: list[TritonInference]
) -> None:
    inputs = [{"mouth": np.full((1, 1, 1), number / ALIKE, np.float32)} for number in range(ALIKE)]
    answers, (requests, items, _) = await ask_until_fused(served, sessions, LABOUR, inputs)
    np.testing.assert_allclose(
        [answer["light"].item() for answer in answers], np.arange(ALIKE) / ALIKE, atol=1e-5
    )
    assert (requests, items) == (ALIKE, ALIKE)


async def test_chunks_of_as_many_frames_are_fused(
    served: Any, sessions: list[TritonInference]
) -> None:
    inputs = [rows(4, first=100.0 * number) for number in range(4 * ALIKE)]
    answers, _ = await ask_until_fused(served, sessions, ROWS, inputs)
    check_doubled(inputs, answers)


async def test_chunks_of_other_lengths_are_not(
    served: Any, sessions: list[TritonInference]
) -> None:
    """The server keeps them apart itself, so that no time is lost on a batch that cannot be one
    array.
    """
    inputs = [rows(1 + number, first=100.0 * number) for number in range(ALIKE)]
    answers, (requests, _, executions) = await ask(served, sessions, ROWS, inputs)
    check_doubled(inputs, answers)
    assert executions == requests


async def test_lengths_in_turn_bring_everyone_what_is_his(
    served: Any, sessions: list[TritonInference]
) -> None:
    inputs = [
        rows(2 + number % 3, first=10.0 * number, items=1 + number % 2)
        for number in range(2 * ALIKE)
    ]
    answers, (requests, items, _) = await ask(served, sessions, ROWS, inputs)
    check_doubled(inputs, answers)
    assert (requests, items) == (2 * ALIKE, 3 * ALIKE)
