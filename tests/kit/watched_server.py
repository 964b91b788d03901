"""What a test sees of a real server from outside: until something is so, and how many executions a model took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from orchestrator.inference.embedded import EmbeddedTriton

GENEROUS_S = 120.0
"""The aim is five seconds; a busy machine that runs tests gets more."""

ANSWER_S = 60.0


async def until(condition: Callable[[], Any], within_s: float = GENEROUS_S) -> None:
    """Waits for a condition, which may be a coroutine function; TimeoutError if it does not come."""
    async with asyncio.timeout(within_s):
        while not (await result if asyncio.iscoroutine(result := condition()) else result):  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.02)


async def executions(server: EmbeddedTriton, model: str) -> tuple[int, int]:
    """Inferences that a model has made, and executions that they took."""
    async with grpc.aio.insecure_channel(server.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = await stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name=model), timeout=ANSWER_S)
    return answer.model_stats[0].inference_count, answer.model_stats[0].execution_count
