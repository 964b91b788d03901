"""The bitrate follows what the client's network carries."""

from __future__ import annotations

import numpy as np
import pytest
from moving_pictures import busy_picture

from orchestrator.video.adaptation.bitrate import Bitrate, after_queue, after_report, moved
from orchestrator.video.adaptation.thresholds import MAX_BITRATE_BPS, MIN_BITRATE_BPS
from orchestrator.video.encoder import H264Encoder, JpegEncoder


def test_a_reported_bandwidth_is_used_but_for_a_tenth() -> None:
    bitrate = after_report(Bitrate(), 2000, 0.0, now=0.0)
    assert bitrate.target_bps == 1_800_000
    assert after_report(bitrate, 300, 0.0, now=1.0).target_bps == 270_000


@pytest.mark.parametrize(
    ("bandwidth_kbps", "target_bps"), [(1.0, MIN_BITRATE_BPS), (1e6, MAX_BITRATE_BPS)]
)
def test_the_target_stays_within_the_limits(bandwidth_kbps: float, target_bps: int) -> None:
    assert after_report(Bitrate(), bandwidth_kbps, None, now=0.0).target_bps == target_bps


def test_heavy_loss_lowers_the_rate_some_holds_it_and_none_lets_it_rise() -> None:
    start = Bitrate(target_bps=1_000_000)
    assert after_report(start, None, 0.2, now=1.0).target_bps == 900_000
    assert after_report(start, None, 0.05, now=1.0).target_bps == 1_000_000
    assert after_report(start, 5000, 0.05, now=1.0).target_bps == 1_000_000
    assert after_report(start, None, 0.0, now=1.0).target_bps == 1_080_000


def test_a_growing_queue_cuts_the_rate_twice_a_second_and_a_shrinking_one_is_given_time() -> None:
    start = Bitrate(target_bps=1_000_000)
    assert after_queue(start, 0.2, now=0.0) is start
    cut = after_queue(start, 0.6, now=1.0)
    assert cut.target_bps == 700_000
    assert after_queue(cut, 0.9, now=1.4) is cut
    assert after_queue(cut, 0.9, now=1.5).target_bps == 490_000
    assert after_queue(cut, 0.5, now=2.9) is cut
    assert after_queue(cut, 0.5, now=3.0).target_bps == 490_000


def test_a_full_queue_cuts_to_what_the_network_carries_but_not_to_a_sliver_at_once() -> None:
    unheld = Bitrate()
    assert (
        after_queue(unheld, 0.6, now=1.0, coded_bps=1_500_000, carried_bps=1_000_000).target_bps
        == 900_000
    )
    assert (
        after_queue(unheld, 0.6, now=1.0, coded_bps=1_500_000, carried_bps=0.0).target_bps
        == 525_000
    )
    easy = Bitrate(target_bps=1_800_000, adapted=True)
    assert after_queue(easy, 0.6, now=1.0, coded_bps=300_000).target_bps == 210_000


def after_easy_seconds(bitrate: Bitrate, fill: float, until_s: int) -> int:
    for tenth in range(10 * until_s + 1):
        bitrate = after_queue(bitrate, fill, now=tenth / 10.0)
    return bitrate.target_bps


def test_an_empty_queue_brings_the_rate_back_within_half_a_minute_and_a_standing_one_holds_it() -> (
    None
):
    cut = Bitrate(target_bps=100_000, adapted=True, cut_s=0.0)
    assert after_easy_seconds(cut, 0.05, 3) == 120_000
    assert after_easy_seconds(cut, 0.05, 30) > 1_500_000
    assert after_easy_seconds(cut, 0.05, 60) == MAX_BITRATE_BPS
    assert after_easy_seconds(cut, 0.2, 60) == 100_000
    assert after_easy_seconds(Bitrate(), 0.0, 60) == Bitrate().target_bps


def test_an_empty_queue_does_not_contradict_a_fresh_report() -> None:
    reported = after_report(Bitrate(), 300, 0.0, now=0.0)
    assert after_easy_seconds(reported, 0.0, 9) == 270_000
    assert after_easy_seconds(reported, 0.0, 14) > 300_000
    lossy = after_report(Bitrate(target_bps=400_000), None, 0.05, now=0.0)
    assert after_easy_seconds(lossy, 0.0, 9) == 400_000


def test_an_encoder_is_built_anew_only_for_a_tenth() -> None:
    assert not moved(500_000, Bitrate(target_bps=549_000))
    assert moved(500_000, Bitrate(target_bps=551_000))
    assert moved(500_000, Bitrate(target_bps=449_000))


@pytest.mark.parametrize("target_bps", [1_800_000, 270_000])
@pytest.mark.slow
def test_h264_holds_its_target_within_15_percent_from_the_second_second_on(target_bps: int) -> None:
    encoder = H264Encoder(512, 20.0, 80, target_bps)
    sizes = [
        8 * len(encoder.encode(busy_picture(index), force_keyframe=False).data)
        for index in range(60)
    ]
    assert sum(sizes[20:]) / 2.0 == pytest.approx(target_bps, rel=0.15)


def test_jpeg_gives_quality_away_for_its_target_and_takes_it_back() -> None:
    encoder = JpegEncoder(90, 20.0, 1_000_000)
    sizes = [
        len(encoder.encode(busy_picture(index, 256), force_keyframe=False).data)
        for index in range(40)
    ]
    assert sizes[0] > 1.5 * 6_250
    assert np.mean(sizes[20:]) < 1.15 * 6_250
    flat = np.full((256, 256, 3), 128, np.uint8)
    for _ in range(60):
        encoder.encode(flat, force_keyframe=False)
    assert len(encoder.encode(busy_picture(0, 256), force_keyframe=False).data) == sizes[0]
