"""Observation of a real server: waiting for conditions, and counts of executions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tritonclient.grpc import service_pb2, service_pb2_grpc

from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.triton.connection import open_channel

GENEROUS_S = 120.0
"""The aim is five seconds; a busy machine that runs tests gets more."""

ANSWER_S = 60.0

SETTLED_S = 0.3

T = TypeVar("T")


async def until(condition: Callable[[], Any], within_s: float = GENEROUS_S) -> None:
    """Wait for a condition, which may be a coroutine function; TimeoutError after `within_s`."""
    async with asyncio.timeout(within_s):
        while not (await result if asyncio.iscoroutine(result := condition()) else result):  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.02)


async def settled(look: Callable[[], Awaitable[T]]) -> T:
    """What two looks in a row agree on: a server answers first and counts afterwards."""
    before = await look()
    while True:
        await asyncio.sleep(SETTLED_S)
        now = await look()
        if now == before:
            return now
        before = now


async def executions(server: EmbeddedTriton, model: str) -> tuple[int, int]:
    """Inferences that a model has made, and executions that they took."""
    return await settled(lambda: _executions(server, model))


async def _executions(server: EmbeddedTriton, model: str) -> tuple[int, int]:
    async with open_channel(server.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = await stub.ModelStatistics(
            service_pb2.ModelStatisticsRequest(name=model), timeout=ANSWER_S
        )
    return answer.model_stats[0].inference_count, answer.model_stats[0].execution_count
