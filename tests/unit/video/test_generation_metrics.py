"""The specification's figures and methods of generation."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import GeneratedFrame, LipSyncModel
from orchestrator.video.generation_metrics import GenerationCounter
from orchestrator.video.generator import VideoGeneratorService


def frame(number: int, grey: int = 0) -> GeneratedFrame:
    return GeneratedFrame(
        np.full((16, 16, 3), grey, np.uint8), number, 1000.0 + 50.0 * number, LipSyncModel.TPSM, 4.0
    )


def service() -> VideoGeneratorService:
    return VideoGeneratorService(inference=None)  # type: ignore[arg-type]  # nothing below asks it


def test_means_are_per_frame_and_over_time() -> None:
    counter = GenerationCounter()
    for second in range(5):
        counter.drawn(20, 80.0, now=float(second))
    metrics = counter.metrics()
    assert (metrics.frames_generated, metrics.average_generation_time_ms, metrics.average_fps) == (
        100,
        4.0,
        20.0,
    )


def test_before_the_first_frame_all_figures_are_zero() -> None:
    metrics = service().get_metrics()
    assert (
        metrics.frames_generated,
        metrics.average_generation_time_ms,
        metrics.average_fps,
        metrics.buffer_underruns,
    ) == (0, 0.0, 0.0, 0)


def test_a_frame_in_between_has_its_picture_and_its_time() -> None:
    between = service().interpolate_frames(frame(0, 100), frame(1, 110), 0.5)
    assert between.audio_timestamp_ms == 1025.0
    assert between.is_interpolated
    assert between.image.mean() == pytest.approx(105.0, abs=1.0)


def test_dropping_to_15_of_20_leaves_no_hole_in_the_numbers_and_the_times_as_they_were() -> None:
    video = service()
    kept = video.drop_frames_for_performance([frame(number) for number in range(8)], 15.0)
    assert [each.sequence_number for each in kept] == list(range(6))
    assert [each.audio_timestamp_ms for each in kept] == [
        1000.0,
        1100.0,
        1150.0,
        1200.0,
        1300.0,
        1350.0,
    ]
    assert video.get_metrics().frames_dropped == 2
    assert len(video.drop_frames_for_performance(kept, 25.0)) == 6


def test_frames_of_one_moment_have_no_rate_and_stay() -> None:
    assert len(service().drop_frames_for_performance([frame(3), frame(3)], 15.0)) == 2
    assert service().drop_frames_for_performance([], 15.0) == []


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_frame_rate_that_is_none_is_refused(fps: float) -> None:
    with pytest.raises(LipSyncError, match="targetFps"):
        service().drop_frames_for_performance([frame(0), frame(1)], fps)
