"""Sound and picture stay together although clocks drift and networks jitter."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.core.types import LipSyncModel, Resolution, StreamingFrame, VideoFormat
from orchestrator.video.av_sync import MAX_CORRECTION_MS, SyncTracker, corrected, sync_state


def frame(number: int, video_format: VideoFormat) -> StreamingFrame:
    time_ms = 1000.0 + 50.0 * number
    return StreamingFrame(
        b"",
        number,
        time_ms,
        time_ms,
        video_format,
        number == 0,
        Resolution(256, 256),
        LipSyncModel.TPSM,
        False,
    )


@pytest.mark.parametrize(
    ("video_ms", "offset_ms", "in_sync"),
    [(1000.0, 0.0, True), (1049.0, 49.0, True), (930.0, -70.0, False)],
)
def test_the_offset_is_positive_when_the_picture_is_ahead(
    video_ms: float, offset_ms: float, in_sync: bool
) -> None:
    state = sync_state(1000.0, video_ms)
    assert (state.offset_ms, state.is_in_sync) == (offset_ms, in_sync)


def test_a_picture_that_is_ahead_is_shown_later() -> None:
    shown = corrected(
        [frame(0, VideoFormat.H264), frame(1, VideoFormat.H264)], sync_state(930.0, 1000.0)
    )
    assert [each.timestamp_ms for each in shown] == [1070.0, 1120.0]
    assert [each.audio_timestamp_ms for each in shown] == [1000.0, 1050.0]


def test_behind_jpeg_drops_what_has_passed_and_h264_shows_it_at_once() -> None:
    state = sync_state(1080.0, 1000.0)
    assert [
        each.sequence_number
        for each in corrected([frame(n, VideoFormat.JPEG) for n in range(4)], state)
    ] == [2, 3]
    assert [
        each.timestamp_ms
        for each in corrected([frame(n, VideoFormat.H264) for n in range(4)], state)
    ] == [
        1000.0,
        1000.0,
        1020.0,
        1070.0,
    ]


def test_one_wild_report_moves_nothing() -> None:
    tracker = SyncTracker()
    for offset_ms in (1.0, -2.0, 0.0, 3.0, 400.0, 1.0):
        assert tracker.report(offset_ms)
    assert tracker.correction_ms == 0.0


def test_ten_minutes_of_drift_and_jitter_stay_within_45_ms() -> None:
    """The client's sound runs 100 ppm slow and each report carries up to 60 ms of the network's
    jitter.
    """
    rng, tracker, offsets = np.random.default_rng(0), SyncTracker(), []
    for second in range(600):
        offset_ms = (
            1000.0 * second * 100e-6 - tracker.correction_ms
        )  # of the picture, which keeps to the wall clock
        offsets.append(offset_ms)
        tracker.report(offset_ms + rng.uniform(-30.0, 30.0))
    assert np.percentile(np.abs(offsets), 99) < 45.0
    assert np.percentile(np.abs(offsets), 50) < 15.0
    assert tracker.corrections > 5
    assert 45.0 < tracker.correction_ms < 75.0


def test_a_picture_that_is_late_because_it_arrives_late_is_not_hurried_for_ever() -> None:
    rng, tracker, answers = np.random.default_rng(0), SyncTracker(), []
    for _ in range(600):
        answers.append(tracker.report(-25.0 + rng.uniform(-5.0, 5.0)))  # whatever is corrected
    assert all(answers)
    assert abs(tracker.correction_ms) < 30.0


def test_a_picture_that_is_shown_late_is_shown_earlier() -> None:
    rng, tracker = np.random.default_rng(0), SyncTracker()
    for _ in range(60):
        tracker.report(-120.0 - tracker.correction_ms + rng.uniform(-10.0, 10.0))
    assert tracker.correction_ms == pytest.approx(-120.0, abs=15.0)


def test_an_offset_that_cannot_be_corrected_is_told() -> None:
    tracker, answers = SyncTracker(), []
    for _ in range(40):
        answers.append(tracker.report(2000.0))
    assert answers[0] is True
    assert answers[-1] is False
    assert tracker.correction_ms == MAX_CORRECTION_MS
