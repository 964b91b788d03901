"""What a stream remembers: when its coder is built anew, and its figures."""

from __future__ import annotations

from itertools import pairwise

import pytest
from moving_pictures import busy_picture, moving_picture

from orchestrator.core.types import Resolution, VideoFormat, VideoGenerationConfig
from orchestrator.video.adaptation.bitrate import Bitrate, after_report
from orchestrator.video.adaptation.quality_controller import QualityController
from orchestrator.video.stream_state import StreamingMetrics, StreamState
from orchestrator.video.streamer import VideoStreamingService

H264 = VideoGenerationConfig(format=VideoFormat.H264)
BIG = VideoGenerationConfig(format=VideoFormat.H264, resolution=Resolution(512, 512))


def keyframes(
    state: StreamState, numbers: range, config: VideoGenerationConfig = H264
) -> list[int]:
    coded = {
        number: state.encode(moving_picture(number), config, 50.0 * number, force_keyframe=False)
        for number in numbers
    }
    return [number for number, picture in coded.items() if picture.is_keyframe]


def test_a_target_that_moved_by_more_than_a_tenth_begins_with_a_keyframe_and_a_smaller_move_does_not() -> (
    None
):
    state = StreamState()
    assert keyframes(state, range(4)) == [0]
    state.quality.bitrate = Bitrate(target_bps=540_000, adapted=True)
    assert keyframes(state, range(4, 8)) == []
    state.quality.bitrate = Bitrate(target_bps=300_000, adapted=True)
    assert keyframes(state, range(8, 12)) == [8]
    assert state.since_keyframe == 4


def test_what_was_thrown_away_is_not_built_on() -> None:
    state = StreamState()
    keyframes(state, range(4))
    state.restart()
    assert keyframes(state, range(4, 6)) == [4]


def test_jpeg_keeps_its_quality_until_something_is_heard_of_the_network() -> None:
    state, config = StreamState(), VideoGenerationConfig()
    first = len(state.encode(moving_picture(0), config, 0.0, force_keyframe=False).data)
    state.quality.bitrate = Bitrate(target_bps=100_000, adapted=True)
    later = [
        len(state.encode(moving_picture(0), config, 50.0 * number, force_keyframe=False).data)
        for number in range(1, 30)
    ]
    assert later[-1] < 0.5 * first


def test_the_figures_are_bytes_latency_jitter_and_the_last_seconds_bitrate() -> None:
    metrics = StreamingMetrics()
    for latency_ms in (10.0, 26.0, 10.0):
        metrics.sent(1_000, latency_ms)
    assert (metrics.bytes_sent, metrics.latency_ms) == (3_000, 10.0)
    assert metrics.jitter_ms == pytest.approx(2.4, abs=0.1)
    state = StreamState()
    sizes = [
        len(state.encode(moving_picture(number), H264, 50.0 * number, force_keyframe=False).data)
        for number in range(40)
    ]
    assert state.metrics.current_bitrate_bps == 8 * sum(sizes[20:])


def test_what_a_client_lost_is_its_share_of_what_was_sent_since_its_last_report() -> None:
    metrics, lost = StreamingMetrics(), list[int]()
    for sent, share in ((40, 0.25), (0, 1.0), (20, 0.0), (30, 0.1), (5, 0.1), (5, 0.1)):
        for _ in range(sent):
            metrics.sent(1_000, 10.0)
        metrics.lost(share)
        lost.append(metrics.packets_lost)
    assert lost == [10, 10, 10, 13, 14, 14], "halves add up"
    assert metrics.frames_sent == 100


def test_a_service_that_does_not_adapt_the_bitrate_still_counts_what_was_lost() -> None:
    state = StreamState()
    state.metrics.sent(1_000, 10.0)
    assert (
        VideoStreamingService(lambda _: state, adapts_bitrate=False).adapt_bitrate("s", 100.0, 1.0)
        == Bitrate().target_bps
    )
    assert state.metrics.packets_lost == 1


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.slow
def test_jpeg_follows_2000_300_2000_kbit_too_with_fewer_pictures_where_the_lowest_quality_is_too_dear(
    size: int,
) -> None:
    config = VideoGenerationConfig(resolution=Resolution(size, size), quality=100)
    state, frame, sent = StreamState(), 0, []
    for bandwidth_kbps in (2000.0, 300.0, 2000.0):
        state.quality.bitrate = after_report(
            state.quality.bitrate, bandwidth_kbps, 0.0, now=frame / 20.0
        )
        for _ in range(80):
            if state.quality.affordable([frame], [50.0 * frame], config.format):
                picture = state.encode(
                    busy_picture(frame, size), config, 50.0 * frame, force_keyframe=False
                )
                sent.append((frame, 8 * len(picture.data)))
            frame += 1
        settled = sum(bits for number, bits in sent if number >= frame - 40) / 2.0
        assert settled == pytest.approx(state.quality.bitrate.target_bps, rel=0.15), (
            "from two seconds after the change on"
        )
    assert max(later - earlier for (earlier, _), (later, _) in pairwise(sent)) <= 10, (
        "no picture stands longer than half a second"
    )


def test_jpeg_at_a_target_it_can_hold_leaves_no_picture_out() -> None:
    config, state = (
        VideoGenerationConfig(),
        StreamState(quality=QualityController(Bitrate(target_bps=1_800_000, adapted=True))),
    )
    for frame in range(100):
        assert state.quality.affordable([frame], [50.0 * frame], config.format) == [frame]
        state.encode(busy_picture(frame, 256), config, 50.0 * frame, force_keyframe=False)


@pytest.mark.slow
def test_the_bitrate_follows_2000_300_2000_kbit_within_two_seconds_and_15_percent() -> None:
    state, number, rates = StreamState(), 0, []
    for bandwidth_kbps in (2000.0, 300.0, 2000.0):
        state.quality.bitrate = after_report(
            state.quality.bitrate, bandwidth_kbps, 0.0, now=number / 20.0
        )
        sizes = []
        for _ in range(60):
            sizes.append(
                8
                * len(
                    state.encode(
                        busy_picture(number), BIG, 50.0 * number, force_keyframe=False
                    ).data
                )
            )
            number += 1
        rates.append(sum(sizes[-20:]))
        assert sum(sizes[20:40]) == pytest.approx(state.quality.bitrate.target_bps, rel=0.15), (
            "in the second second after the change"
        )
    assert rates == pytest.approx([1_800_000, 270_000, 1_800_000], rel=0.15)
