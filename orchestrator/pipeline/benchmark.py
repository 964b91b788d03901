"""Benchmark of the models over one face and one speech, with a recommendation for this machine."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, invalid_field
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import AudioChunk, FaceModel, LipSyncModel, VideoGenerationConfig
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.models.base import ModelAdapter, ModelSpec
from orchestrator.pipeline.circuit_breaker import PerformanceTracker
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.pipeline.selection_policy import BUDGET_SHARE
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.streamer import VideoStreamingService

CHUNK_FRAMES: Final = 2
"""Frames of a 100 ms chunk at 20 frames per second: the batch of a live session."""

MAX_S: Final = 30.0
"""A model that has not finished by then is judged by the frames that it has generated."""

DEADLINE_MS: Final = 60_000
"""Deadline of a batch: a slow model is measured, only one that hangs fails."""

GPU_POLL_S: Final = 2.1
"""Interval at which the GPUs' memory is read: Triton measures it every two seconds."""

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


class Benchmark:
    """Generates frames of the same speech with each model, through the frame loop of the sessions.

    Results count for model selection through `performance`; nothing else of the service's metrics
    changes.
    """

    def __init__(
        self,
        adapters: Sequence[ModelAdapter],
        faces: FaceModelCacheService,
        video: VideoGeneratorService,
        performance: PerformanceTracker,
    ) -> None:
        self._adapters = {adapter.spec.model: adapter for adapter in adapters}
        self._faces = faces
        self._video = video
        self._performance = performance
        patient = ServiceConfig(chunk_deadline_ms=DEADLINE_MS, frame_cache_ttl=0.0)
        self._pipeline = FramePipeline(
            patient,
            self._adapters,
            faces,
            video,
            VideoStreamingService(),
            Metrics(),
            performance=performance,
        )

    async def run(
        self, face: FaceModel, chunks: Sequence[AudioChunk], gpu_memory: GpuMemory = no_gpu
    ) -> list[BenchmarkResult]:
        """Results in the order of the adapters; models that fail are left out.

        Raises `LipSyncError` for speech that cannot be decoded, before any model is used.
        """
        results = []
        for model in self._adapters:
            turn = _test(chunks)
            try:
                async with _peak_of(gpu_memory) as peak_mb:
                    result = await self._measured(model, face, turn)
            except LipSyncError:
                continue
            results.append(
                dataclasses.replace(result, gpu_memory_peak_mb=max(peak_mb, default=None))
            )
        return _with_recommendation(results)

    async def _measured(self, model: LipSyncModel, face: FaceModel, turn: Turn) -> BenchmarkResult:
        await self._prepare(model, face, turn.config.resolution.width)
        session = Session("benchmark", face.user_id, inbox_ms=1.0, outbox_frames=1)
        session.face.current = face
        loop, latencies_ms = asyncio.get_running_loop(), list[float]()
        began_s = loop.time()
        while loop.time() - began_s < MAX_S:
            sent_s = loop.time()
            batch = await self._pipeline.next_batch(
                session, turn, limit=CHUNK_FRAMES, models=[model]
            )
            if batch is None:
                break
            latencies_ms.append((loop.time() - sent_s) * 1000.0)
        return _result(self._adapters[model].spec, turn, latencies_ms)

    async def _prepare(self, model: LipSyncModel, face: FaceModel, size: int) -> None:
        adapter = self._adapters[model]
        try:
            await self._faces.optimize_for_model(face, adapter, size, self._video.inference)
        except LipSyncError as error:
            now = asyncio.get_running_loop().time()
            self._performance.record_failure(model, error.code, now)
            raise


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
            await asyncio.sleep(GPU_POLL_S)

    watching = asyncio.create_task(watch(), name="watch the GPUs' memory")
    try:
        yield looks
        if looks:
            await asyncio.sleep(GPU_POLL_S)
            looks.append(await gpu_memory() or 0.0)
    finally:
        watching.cancel()
        await asyncio.wait([watching])


def _result(spec: ModelSpec, turn: Turn, latencies_ms: Sequence[float]) -> BenchmarkResult:
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
