"""Cost of the embedded Triton: start-up time, CPU time per request, and recovery time.

    python -m benchmarks.triton_hop [--requests 500]

Prints the seconds from start to ready, CPU and wall ms per request by number of frames and by
transport (shared memory or bytes), and the seconds of recovery from each fault. CPU time is that of
this process, the server and its backend processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.shared import command_line, cpu_s
from orchestrator.core.errors import LipSyncError
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.inference.embedded.backend_processes import Stub
from orchestrator.inference.embedded.process import launch_early
from orchestrator.inference.embedded.self_test import self_test_of
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import Repository, read_repository
from orchestrator.inference.triton.inference import TritonInference

MODELS: Final = ("audio2motion", "tpsm", "tpsm_speech")
BLANK_CONFIG: Final = """
name: "blank" backend: "python" max_batch_size: 16
input [ { name: "motion" data_type: TYPE_FP32 dims: [ 11 ] } ]
output [ { name: "frames" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] } ]
instance_group [ { count: 2 } ]
dynamic_batching { max_queue_delay_microseconds: 0 }
"""
BLANK_MODEL: Final = """
import ctypes
import numpy as np
import triton_python_backend_utils as pb_utils
from orchestrator.core.dlpack import to_tensor

class TritonPythonModel:
    def initialize(self, args):
        self.frames = np.zeros((16, 256, 256, 3), np.uint8)
        # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD: keep freed memory, as the renderer does
        for option in (-1, -3):
            ctypes.CDLL(None).mallopt(option, 32 << 20)

    def execute(self, requests):
        motions = [pb_utils.get_input_tensor_by_name(each, "motion") for each in requests]
        frames = [self.frames[: len(np.from_dlpack(motion))] for motion in motions]
        tensors = [to_tensor(pb_utils, "frames", each) for each in frames]
        return [pb_utils.InferenceResponse([each]) for each in tensors]
"""


def write_blank(folder: Path) -> Repository:
    """Write a repository with one null model that returns frames of 256 x 256."""
    (folder / "blank" / "1").mkdir(parents=True)
    (folder / "blank" / "config.pbtxt").write_text(BLANK_CONFIG)
    (folder / "blank" / "1" / "model.py").write_text(BLANK_MODEL)
    return read_repository(folder)


@asynccontextmanager
async def connected(
    repository: Repository, models: tuple[str, ...], *, shared_memory: bool
) -> AsyncIterator[tuple[EmbeddedTriton, TritonInference]]:
    """Start a server and connect a client to it."""
    async with (
        EmbeddedTriton(repository.path, models) as server,
        TritonInference([server], repository, shared_memory=shared_memory) as inference,
    ):
        yield server, inference


async def start_to_ready(repeats: int) -> list[float]:
    """Seconds from the launch until all models have passed their self tests, per start."""
    seconds = []
    for _ in range(repeats):
        began = time.monotonic()
        async with EmbeddedTriton(
            MODEL_REPOSITORY, MODELS, launched=launch_early(MODEL_REPOSITORY, MODELS)
        ) as server:
            assert all(map(server.has_ready, MODELS)), server.health()
            seconds.append(time.monotonic() - began)
    return seconds


async def hop(
    repository: Repository, *, frames: int, shared_memory: bool, requests: int
) -> tuple[float, float]:
    """CPU ms and median wall ms of a request, sent one after another."""
    motion = {"motion": np.zeros((frames, 11), np.float32)}
    async with connected(repository, ("blank",), shared_memory=shared_memory) as (
        server,
        inference,
    ):
        await timed_requests(inference, "blank", motion, 50)
        family = [
            psutil.Process(),
            psutil.Process(server.health().pid),
            *psutil.Process(server.health().pid).children(),
        ]
        before_s = cpu_s(family)
        walls_s = await timed_requests(inference, "blank", motion, requests)
        cpu_ms = 1000 * (cpu_s(family) - before_s) / requests
        return cpu_ms, 1000 * statistics.median(walls_s)


async def timed_requests(
    inference: TritonInference, model: str, inputs: dict[str, NDArray[Any]], requests: int
) -> list[float]:
    """Send requests one after another; return the wall seconds of each."""
    walls_s = []
    for _ in range(requests):
        began = time.perf_counter()
        await inference.infer(model, inputs, deadline=time.monotonic() + 5)
        walls_s.append(time.perf_counter() - began)
    return walls_s


async def recovery() -> dict[str, float]:
    """Seconds from each fault until all models have failed and pass their self tests again."""
    seconds = {}
    repository = read_repository(MODEL_REPOSITORY)
    for name, number in (
        ("stub killed", signal.SIGKILL),
        ("server killed", signal.SIGKILL),
        ("server stopped", signal.SIGSTOP),
    ):
        async with connected(repository, MODELS, shared_memory=True) as (server, inference):
            await pass_self_tests(inference, repository)
            pid = server.health().pid
            assert pid is not None
            victim = renderer(server).pid if name.startswith("stub") else pid
            began = time.monotonic()
            os.kill(victim, number)
            while server.has_ready("tpsm"):  # noqa: ASYNC110 - another process's death sets no event
                await asyncio.sleep(0.01)
            while not await pass_self_tests(inference, repository):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            seconds[name] = time.monotonic() - began
    return seconds


def renderer(server: EmbeddedTriton) -> Stub:
    """One of the backend processes of `tpsm`."""
    return next(stub for stub in server.stubs() if stub.model == "tpsm")


async def pass_self_tests(inference: TritonInference, repository: Repository) -> bool:
    """True when all models are ready and answer the requests of their self tests."""
    for model in MODELS:
        self_test = self_test_of(repository.models[model])
        assert self_test is not None
        try:
            if not await inference.ready(model):
                return False
            await inference.infer(model, self_test.make_inputs(), deadline=time.monotonic() + 1)
        except LipSyncError:
            return False
    return True


async def report(requests: int) -> None:
    """Measure and print everything."""
    starts = await start_to_ready(5)
    print(
        f"start to ready, {' + '.join(MODELS)}: median {statistics.median(starts):.2f} s, worst "
        f"{max(starts):.2f} s of {len(starts)}"
    )
    with tempfile.TemporaryDirectory() as folder:
        repository = write_blank(Path(folder))
        for frames in (1, 2, 4):
            for shared_memory in (True, False):
                cpu_ms, wall_ms = await hop(
                    repository, frames=frames, shared_memory=shared_memory, requests=requests
                )
                way = "shared memory" if shared_memory else "bytes"
                per_frame = f"{cpu_ms / frames:.2f} per frame"
                print(
                    f"hop, {frames} x 256 x 256 x 3, {way:13}: {cpu_ms:.2f} ms CPU ({per_frame}), "
                    f"{wall_ms:.2f} ms wall"
                )
    for name, seconds in (await recovery()).items():
        print(f"recovered after {name}: {seconds:.2f} s")


if __name__ == "__main__":
    parser = command_line("triton_hop", __doc__)
    parser.add_argument(
        "--requests", type=int, default=500, help="requests per measurement of the hop"
    )
    asyncio.run(report(parser.parse_args().requests))
