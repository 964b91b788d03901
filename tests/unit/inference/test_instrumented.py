"""Answers pass through unchanged; only those that came are timed."""

from __future__ import annotations

import pytest
from fakes import ScriptedInference

from orchestrator.core.errors import LipSyncError
from orchestrator.core.metrics import Metrics
from orchestrator.inference.instrumented import TimedInference


async def test_answers_are_counted_by_model_and_failures_are_not() -> None:
    metrics = Metrics()
    timed = TimedInference(ScriptedInference({"tpsm"}), metrics)
    assert await timed.infer("tpsm", {}, deadline=1.0) == {}
    with pytest.raises(LipSyncError):
        await timed.infer("audio2motion", {}, deadline=1.0)
    assert (await timed.ready("tpsm"), await timed.ready("audio2motion")) == (True, False)
    text = metrics.render().decode()
    assert 'lipsync_stage_seconds_count{model="tpsm",stage="infer"} 1.0' in text
    assert 'model="audio2motion"' not in text
