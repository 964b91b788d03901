"""A real server's own account of its work is read: requests, waits, batches, memory of backend
processes.
"""

from __future__ import annotations

import asyncio
import time

import aiohttp
import numpy as np
from watched_server import executions

from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import Repository
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.inference.triton.metrics_poller import TritonWatch
from orchestrator.inference.triton.server_metrics import TritonFigures


async def test_what_a_server_did_between_two_looks(
    embedded_triton: EmbeddedTriton, inference: TritonInference, repository: Repository
) -> None:
    told: list[TritonFigures] = []
    rows = next(tensor for tensor in repository.models["audio2motion"].inputs)
    question = {rows.name: np.zeros((2, *(max(1, size) for size in rows.dims)), np.float32)}
    async with aiohttp.ClientSession() as http:
        watch = TritonWatch(inference, (), told.append)
        await executions(embedded_triton, "audio2motion")  # all is counted
        await watch.look(http)
        await asyncio.gather(
            *(
                inference.infer("audio2motion", question, deadline=time.monotonic() + 60)
                for _ in range(10)
            )
        )
        await executions(embedded_triton, "audio2motion")
        await watch.look(http)
    load = told[1].models["audio2motion"]
    assert (load.requests, load.failures) == (10, 0)
    assert load.batch_size >= 2.0
    assert load.queue_ms > 0.0
    assert told[1].memory_mb["audio2motion"] > 1.0
    assert not told[1].has_gpu
    assert inference.metrics_urls() == [embedded_triton.metrics_url]
