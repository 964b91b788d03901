"""Every model over the same face and the same speech: which one this machine draws best in real
time.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from orchestrator.core.errors import LipSyncError, invalid_field
from orchestrator.core.types import AudioChunk, FaceModel, LipSyncModel, VideoGenerationConfig
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.models.base import ModelAdapter
from orchestrator.pipeline.circuit_breaker import PerformanceTracker
from orchestrator.pipeline.selection_policy import BUDGET_SHARE
from orchestrator.pipeline.turn import Turn
from orchestrator.video.generator import VideoGeneratorService

CHUNK_FRAMES: Final = 2
"""Frames of a 100 ms chunk at 20 frames a second: what a live session asks for at once."""

MOST_S: Final = 30.0
"""A model that has not drawn the test by then is judged by what it has drawn."""

GPU_LOOK_S: Final = 2.1
"""Between two looks at the GPUs' memory: Triton measures it every two seconds."""

GpuMemory: TypeAlias = Callable[[], Awaitable[float | None]]
"""MB in use on the GPUs; None where there is none."""


async def no_gpu() -> None:
    """The memory of GPUs where no Triton is asked."""


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """One model's figures; latencies are those of chunks of two frames."""

    model: LipSyncModel
    test_duration_ms: float
    """Of the audio."""
    frames_generated: int
    average_latency_ms: float
    max_latency_ms: float
    min_latency_ms: float
    quality_score: float
    """0..1."""
    gpu_memory_peak_mb: float | None
    """Most that was in use on Triton's GPUs while the model drew, other models included; None where
    no Triton reports a GPU.
    """
    is_recommended: bool = False


async def benchmark(
    adapters: Sequence[ModelAdapter],
    face: FaceModel,
    chunks: Sequence[AudioChunk],
    faces: FaceModelCacheService,
    video: VideoGeneratorService,
    performance: PerformanceTracker,
    gpu_memory: GpuMemory = no_gpu,
) -> list[BenchmarkResult]:
    """Results in the order of the adapters; models that fail are left out. What was measured counts
    for selection as well.

    Raises `LipSyncError` for speech that cannot be heard, before any model is asked.
    """
    results = []
    for adapter in adapters:
        turn = _test(chunks)
        try:
            async with _peak_of(gpu_memory) as peak_mb:
                result = await _measured(adapter, face, turn, faces, video, performance)
            results.append(
                dataclasses.replace(result, gpu_memory_peak_mb=max(peak_mb, default=None))
            )
        except LipSyncError as error:
            performance.record_failure(
                adapter.spec.model, error.code, asyncio.get_running_loop().time()
            )
    return _with_recommendation(results)


def _test(chunks: Sequence[AudioChunk]) -> Turn:
    if not chunks:
        raise invalid_field("testAudio", "has no chunk; give at least one")
    turn = Turn("benchmark", 1, VideoGenerationConfig(), chunks[0].timestamp_ms, 0.0, 0.0)
    for chunk in chunks:
        turn.push(chunk, 0.0)
    turn.finish(0.0)
    if turn.frame_count <= 0:
        raise invalid_field("testAudio", "is too short for a frame; give some 100 ms of it or more")
    return turn


@contextlib.asynccontextmanager
async def _peak_of(gpu_memory: GpuMemory) -> AsyncIterator[list[float]]:
    """What the GPUs held meanwhile, look by look; the last look is one that Triton measured after
    the work.
    """
    looks: list[float] = []

    async def watch() -> None:
        while (used_mb := await gpu_memory()) is not None:
            looks.append(used_mb)
            await asyncio.sleep(GPU_LOOK_S)

    watching = asyncio.create_task(watch(), name="watch the GPUs' memory")
    try:
        yield looks
        if looks:
            await asyncio.sleep(GPU_LOOK_S)
            looks.append(await gpu_memory() or 0.0)
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _measured(
    adapter: ModelAdapter,
    face: FaceModel,
    turn: Turn,
    faces: FaceModelCacheService,
    video: VideoGeneratorService,
    performance: PerformanceTracker,
) -> BenchmarkResult:
    loop, latencies_ms, state = asyncio.get_running_loop(), list[float](), None
    prepared: Any = await faces.optimize_for_model(
        face, adapter, turn.config.resolution.width, video.inference
    )
    began_s, spec = loop.time(), adapter.spec
    while (count := turn.frames_ready(spec, CHUNK_FRAMES)) > 0 and loop.time() - began_s < MOST_S:
        asked_s = loop.time()
        images, state = await video.generate_frames(
            adapter, turn.windows(spec, count), prepared, state, deadline=began_s + 2 * MOST_S
        )
        turn.advance(images, spec.model, 0.0)
        latencies_ms.append((loop.time() - asked_s) * 1000.0)
        performance.record_success(
            spec.model, latencies_ms[-1], count, loop.time(), lasting_ms=1000.0 * count / turn.fps
        )
    figures = np.array(latencies_ms or [0.0])
    return BenchmarkResult(
        model=spec.model,
        test_duration_ms=turn.audio.duration_s * 1000.0,
        frames_generated=turn.next_frame,
        average_latency_ms=float(figures.mean()),
        max_latency_ms=float(figures.max()),
        min_latency_ms=float(figures.min()),
        quality_score=spec.quality,
        gpu_memory_peak_mb=None,
    )


def _with_recommendation(results: Sequence[BenchmarkResult]) -> list[BenchmarkResult]:
    """The best picture of those that keep up on average; the fastest where none does."""
    if not results:
        return []
    budget_ms = BUDGET_SHARE * 1000.0 * CHUNK_FRAMES / VideoGenerationConfig().target_fps
    in_time = [result for result in results if result.average_latency_ms <= budget_ms]
    best = (
        max(in_time, key=lambda result: result.quality_score)
        if in_time
        else min(results, key=lambda result: result.average_latency_ms)
    )
    return [dataclasses.replace(result, is_recommended=result is best) for result in results]
