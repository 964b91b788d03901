"""A benchmark in virtual time: what it says of the GPUs, and whose fault a failure is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fakes import ScriptedAdapter, ScriptedInference, SomeFaces, pcm_chunk
from virtual_time import run_virtual

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import AudioChunk, LipSyncModel
from orchestrator.pipeline.benchmark import Benchmark, BenchmarkResult
from orchestrator.pipeline.circuit_breaker import PerformanceTracker
from orchestrator.video.generator import VideoGeneratorService

TPSM, STATIC = LipSyncModel.TPSM, LipSyncModel.STATIC


class Bench:
    """Two scripted models over half a second of a tone."""

    def __init__(self) -> None:
        self.models = {model: ScriptedAdapter(model) for model in (TPSM, STATIC)}
        self.performance = PerformanceTracker()

    async def run(self, speech: list[AudioChunk], *gpu: Any) -> list[BenchmarkResult]:
        faces: Any = SomeFaces(self.models)
        face = await faces.load_face_model("user-1", "face-1")
        video = VideoGeneratorService(ScriptedInference({"tpsm"}))
        models = list(self.models.values())
        return await Benchmark(models, faces, video, self.performance).run(face, speech, *gpu)


def half_a_second() -> list[AudioChunk]:
    return [pcm_chunk(sequence_number=number) for number in range(5)]


def test_the_gpus_memory_is_the_most_that_was_measured_while_the_model_drew() -> None:
    async def gpu_memory() -> float:
        """Triton measures every two seconds; `tpsm` draws in the fourth and fifth."""
        return 3000.0 if 4.0 <= asyncio.get_running_loop().time() - began_s < 8.0 else 1000.0

    bench = Bench()
    bench.models[TPSM].script = [3.0, 3.0]
    began_s = 1000.0
    results = run_virtual(bench.run(half_a_second(), gpu_memory))
    assert {result.model: result.gpu_memory_peak_mb for result in results} == {
        TPSM: 3000.0,
        STATIC: 1000.0,
    }


def test_without_a_gpu_there_is_no_figure_and_no_wait() -> None:
    async def timed() -> tuple[list[BenchmarkResult], float]:
        began_s = asyncio.get_running_loop().time()
        return await Bench().run(half_a_second()), asyncio.get_running_loop().time() - began_s

    results, took_s = run_virtual(timed())
    assert {result.gpu_memory_peak_mb for result in results} == {None}
    assert took_s == 0.0


def test_a_model_that_fails_is_left_out_and_its_watch_ends() -> None:
    async def gpu_memory() -> float:
        return 1000.0

    bench = Bench()
    bench.models[TPSM].script = [LipSyncErrorCode.VIDEO_GENERATION_FAILED]
    assert [result.model for result in run_virtual(bench.run(half_a_second(), gpu_memory))] == [
        STATIC
    ]
    assert bench.performance.performance(TPSM).success_rate == 0.0


@pytest.mark.parametrize(
    "speech",
    [[], [pcm_chunk(), AudioChunk(b"odd", 0.0, 1, 16_000, 1, pcm_chunk().format)]],
    ids=["none", "not decodable"],
)
def test_speech_that_cannot_be_heard_is_no_models_failure(speech: list[AudioChunk]) -> None:
    bench = Bench()
    with pytest.raises(LipSyncError, match=r"testAudio|audioChunk\.data"):
        run_virtual(bench.run(speech))
    assert bench.performance.performance(TPSM).success_rate == 1.0
