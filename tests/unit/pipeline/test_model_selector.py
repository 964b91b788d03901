"""What the Tritons say of themselves moves the choice of the model: their queues, and whether there
is a GPU.
"""

from __future__ import annotations

import asyncio
import dataclasses

from fakes import ScriptedAdapter, ScriptedInference, scripted_service
from virtual_time import run_virtual

from orchestrator.core.types import LipSyncModel
from orchestrator.inference.triton.server_metrics import ModelLoad, TritonFigures
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.pipeline.session_state import Session

TPSM, WAV2LIP, STATIC = LipSyncModel.TPSM, LipSyncModel.WAV2LIP, LipSyncModel.STATIC
MINUTE_S = 60.0


def two_models(*, gpu_memory_mb: int = 0) -> FramePipeline:
    """`wav2lip` looks better; both have drawn in 20 ms."""
    wav2lip = ScriptedAdapter(WAV2LIP)
    wav2lip.spec = dataclasses.replace(wav2lip.spec, quality=0.9, gpu_memory_mb=gpu_memory_mb)
    adapters = {TPSM: ScriptedAdapter(TPSM), WAV2LIP: wav2lip, STATIC: ScriptedAdapter(STATIC)}
    return scripted_service(adapters, ScriptedInference({"tpsm", "wav2lip"}))


def queue(model: str, wait_ms: float) -> TritonFigures:
    return TritonFigures(
        {model: ModelLoad(queue_ms=wait_ms, batch_size=4.0, requests=100, failures=0)}
    )


async def first_choice(pipeline: FramePipeline) -> LipSyncModel:
    session = Session("session-1", "user-1", inbox_ms=1000.0, outbox_frames=10)
    return (await pipeline.rank(session, None, (TPSM, WAV2LIP, STATIC)))[0]


async def draw(pipeline: FramePipeline, model: LipSyncModel) -> None:
    for _ in range(3):
        await asyncio.sleep(0.1)
        pipeline.performance.record_success(
            model, 20.0, 2, asyncio.get_running_loop().time(), lasting_ms=100.0
        )


def test_a_full_queue_keeps_sessions_from_a_model_that_has_not_drawn_here_for_a_while() -> None:
    async def script() -> list[LipSyncModel]:
        pipeline, chosen = two_models(), list[LipSyncModel]()
        await draw(pipeline, WAV2LIP)
        await asyncio.sleep(MINUTE_S)
        await draw(pipeline, TPSM)
        for wait_ms in (10.0, 150.0, 10.0):
            pipeline.models.note_triton(queue("wav2lip", wait_ms))
            await asyncio.sleep(1.0)
            chosen.append(await first_choice(pipeline))
        return chosen

    assert run_virtual(script()) == [WAV2LIP, TPSM, WAV2LIP]


def test_a_batchs_own_latency_holds_its_wait_already() -> None:
    async def script() -> LipSyncModel:
        pipeline = two_models()
        await draw(pipeline, WAV2LIP)
        pipeline.models.note_triton(queue("wav2lip", 70.0))
        return await first_choice(pipeline)

    assert run_virtual(script()) is WAV2LIP


def test_a_gpu_that_triton_reports_lets_its_models_in_before_they_were_measured() -> None:
    async def script() -> tuple[bool, float | None, float | None]:
        pipeline = two_models(gpu_memory_mb=1000)
        pipeline.models.note_triton(
            TritonFigures(gpu_utilization=0.25, gpu_used_mb=512.0, gpu_total_mb=1024.0)
        )
        figures = pipeline.performance.performance(WAV2LIP)
        return pipeline.models.gpu_available, figures.gpu_utilization, figures.memory_usage_mb

    assert run_virtual(script()) == (True, 0.25, 512.0)


def test_what_triton_says_is_published() -> None:
    async def script() -> str:
        pipeline = two_models()
        pipeline.models.note_triton(queue("wav2lip", 5.0))
        return pipeline.metrics.render().decode()

    text = run_virtual(script())
    assert 'lipsync_triton_batch_size{model="wav2lip"} 4.0' in text
    assert 'lipsync_triton_queue_seconds{model="wav2lip"} 0.005' in text
