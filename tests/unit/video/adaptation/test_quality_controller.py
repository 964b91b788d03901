"""The measures against congestion set in one after the other, the mildest first, and all end."""

from __future__ import annotations

import math
from typing import Any

import pytest

from orchestrator.core.types import VideoFormat
from orchestrator.video.adaptation import thresholds
from orchestrator.video.adaptation.bitrate import Bitrate
from orchestrator.video.adaptation.frame_rate import FrameRate
from orchestrator.video.adaptation.frame_skipping import congestion_of, frames_between
from orchestrator.video.adaptation.quality_controller import (
    Decision,
    DueFrames,
    Load,
    QualityController,
    StreamRates,
)

FPS, BATCH = 20.0, 4
CODED = StreamRates(coded_bps=1_000_000.0, carried_bps=math.inf)


class Session:
    """Batches of four frames, each looked at when it is due."""

    def __init__(self, video_format: VideoFormat = VideoFormat.H264) -> None:
        self.controller, self.format, self.batches = QualityController(), video_format, 0

    def batch(
        self,
        fill: float = 0.0,
        *,
        batch_load: float = 0.1,
        late_s: float = 0.0,
        rates: StreamRates | None = CODED,
    ) -> Decision:
        first = BATCH * self.batches
        timestamps_ms = [1000.0 * (first + offset) / FPS for offset in range(BATCH)]
        due = DueFrames(first, timestamps_ms, FPS, self.format, since_keyframe=1)
        now = first / FPS
        self.batches += 1
        return self.controller.decide(due, Load(fill, batch_load, late_s, rates), now)

    def seconds(self, seconds: float, fill: float = 0.0, **load: Any) -> Decision:
        decisions = [self.batch(fill, **load) for _ in range(round(seconds * FPS / BATCH))]
        return decisions[-1]


def test_the_thresholds_are_in_their_order() -> None:
    skip_fills = [fill / 1000 for fill in range(1001) if frames_between(congestion_of(fill / 1000))]
    assert (
        thresholds.QUEUE_EMPTY
        < thresholds.QUEUE_GROWING
        < thresholds.QUEUE_OVERLOADED
        <= thresholds.QUEUE_SPARED
        < skip_fills[0]
        == 0.75
    )
    assert thresholds.RELAXED < thresholds.OVERLOADED * thresholds.REDUCED_SHARE
    assert thresholds.FALL_AFTER_S < thresholds.RISE_AFTER_S
    assert thresholds.MIN_BITRATE_BPS < Bitrate().target_bps < thresholds.MAX_BITRATE_BPS


@pytest.mark.parametrize("video_format", list(VideoFormat))
def test_a_healthy_session_keeps_everything(video_format: VideoFormat) -> None:
    session = Session(video_format)
    decision = session.seconds(30.0, fill=0.2)
    assert decision.keep == [0, 1, 2, 3]
    assert decision.fps == FPS
    assert not session.controller.bitrate.adapted


def test_a_growing_queue_costs_bits_before_frames() -> None:
    session = Session()
    decision = session.seconds(3.0, fill=0.3)
    assert session.controller.bitrate.target_bps < Bitrate().target_bps
    assert (decision.keep, decision.fps) == ([0, 1, 2, 3], FPS)


def test_a_queue_half_full_costs_a_quarter_of_the_frames_after_a_second_and_skips_none() -> None:
    session = Session()
    assert session.seconds(1.0, fill=0.6).fps == FPS
    decision = session.batch(fill=0.6)
    assert (decision.fps, len(decision.keep)) == (15.0, 3)


def test_a_queue_nearly_full_skips_frames_at_once() -> None:
    assert Session().batch(fill=0.75).keep == [0, 2]
    assert Session().batch(fill=0.9).keep == [0, 3]


def test_a_slow_model_costs_frames_and_no_bits() -> None:
    session = Session()
    decision = session.seconds(2.0, batch_load=1.2, late_s=3.0)
    assert decision.fps == 15.0
    assert not session.controller.bitrate.adapted


def test_once_the_queue_is_empty_the_frame_rate_returns_first_and_the_bitrate_follows() -> None:
    session = Session()
    session.seconds(4.0, fill=0.7)
    assert session.seconds(3.0).fps == 15.0
    assert session.seconds(1.0).fps == FPS
    cut_bps = session.controller.bitrate.target_bps
    session.seconds(60.0)
    assert session.controller.bitrate.target_bps == thresholds.MAX_BITRATE_BPS > cut_bps


def test_frames_that_neither_rate_nor_queue_cost_may_be_too_dear_as_jpeg() -> None:
    session = Session(VideoFormat.JPEG)
    session.controller.note_report(100.0, 0.0, now=0.0)
    for _ in range(3):
        session.batch()
        session.controller.note_encoded(50.0 * BATCH * session.batches, 60_000, VideoFormat.JPEG)
    assert len(session.batch().keep) < BATCH
    assert session.controller.frame_rate == FrameRate()


def test_without_rates_the_bitrate_stays() -> None:
    session = Session()
    session.seconds(3.0, fill=0.7, rates=None)
    assert session.controller.bitrate == Bitrate()
