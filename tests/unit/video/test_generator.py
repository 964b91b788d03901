"""Frames from one model within a deadline."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from fakes import NothingInputs, ScriptedAdapter, ScriptedInference
from virtual_time import run_virtual

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import LipSyncModel
from orchestrator.models.base import FeatureWindows
from orchestrator.video.generator import VideoGeneratorService


def three_windows() -> FeatureWindows:
    return FeatureWindows(
        np.zeros((3, 88, 80), np.float32),
        np.arange(3),
        np.zeros(3, np.float32),
        np.zeros(3),
        np.zeros(3, np.bool_),
    )


async def generate(adapter: ScriptedAdapter, patience_s: float = 0.3) -> int:
    deadline = asyncio.get_running_loop().time() + patience_s
    video = VideoGeneratorService(ScriptedInference())
    images, _ = await video.generate_frames(
        adapter, three_windows(), NothingInputs(16), None, deadline=deadline
    )
    return len(images)


def test_there_is_a_picture_for_every_window() -> None:
    assert run_virtual(generate(ScriptedAdapter(LipSyncModel.TPSM))) == 3


def test_a_model_that_takes_too_long_is_a_timeout() -> None:
    with pytest.raises(LipSyncError) as caught:
        run_virtual(generate(ScriptedAdapter(LipSyncModel.TPSM, script=[1.0])))
    assert caught.value.code is LipSyncErrorCode.TIMEOUT


def test_no_deadline_waits_as_long_as_it_takes() -> None:
    assert (
        run_virtual(
            generate(ScriptedAdapter(LipSyncModel.STATIC, script=[1000.0]), patience_s=float("inf"))
        )
        == 3
    )


def test_frames_of_another_count_or_kind_are_refused() -> None:
    class Garbage(ScriptedAdapter):
        async def generate(self, infer, windows, face, state):  # type: ignore[no-untyped-def]
            return np.zeros((2, 16, 16, 3), np.uint8), state

    with pytest.raises(LipSyncError) as caught:
        run_virtual(generate(Garbage(LipSyncModel.TPSM)))
    assert caught.value.code is LipSyncErrorCode.VIDEO_GENERATION_FAILED


def test_a_probe_says_whether_the_model_answers() -> None:
    async def probes(ready: set[str]) -> bool:
        video = VideoGeneratorService(ScriptedInference(ready))
        return await video.probe(
            ScriptedAdapter(LipSyncModel.TPSM), deadline=asyncio.get_running_loop().time() + 1
        )

    assert run_virtual(probes({"tpsm"}))
    assert not run_virtual(probes(set()))
