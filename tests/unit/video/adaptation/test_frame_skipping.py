"""A client that cannot keep up gets fewer frames, and every one of them decodes."""

from __future__ import annotations

import io

import av
import pytest
from moving_pictures import moving_picture

from orchestrator.video.adaptation.frame_skipping import congestion_of, kept_frames
from orchestrator.video.encoder import KEYFRAME_INTERVAL, H264Encoder


@pytest.mark.parametrize(
    ("level", "kept"),
    [(0.0, [0, 1, 2, 3, 4, 5]), (0.49, [0, 1, 2, 3, 4, 5]), (0.5, [0, 2, 4]), (0.9, [0, 3])],
)
def test_more_congestion_skips_more(level: float, kept: list[int]) -> None:
    assert kept_frames(list(range(6)), level, since_keyframe=1) == kept


def test_a_queue_is_left_to_bitrate_and_frame_rate_until_it_is_three_quarters_full() -> None:
    kept = [
        len(kept_frames(list(range(6)), congestion_of(fill), since_keyframe=1))
        for fill in (0.0, 0.3, 0.74, 0.75, 0.9, 1.0)
    ]
    assert kept == [6, 6, 6, 3, 2, 2]


def test_the_frame_that_is_due_as_a_keyframe_is_kept() -> None:
    assert kept_frames([0, 1, 2], 1.0, since_keyframe=KEYFRAME_INTERVAL - 1) == [0, 1]


@pytest.mark.slow
def test_what_is_left_of_a_congested_stream_decodes_cleanly() -> None:
    encoder, stream, coded, since = H264Encoder(256, 20.0, 80), b"", 0, 0
    for start in range(0, 160, 4):
        level = 1.0 if 40 <= start < 100 else 0.0
        for index in kept_frames(range(start, start + 4), level, since):
            picture = encoder.encode(moving_picture(index), force_keyframe=False)
            stream, coded, since = (
                stream + picture.data,
                coded + 1,
                1 if picture.is_keyframe else since + 1,
            )
    with av.open(io.BytesIO(stream), format="h264", options={"err_detect": "explode"}) as container:
        assert sum(1 for _ in container.decode(video=0)) == coded
    assert coded < 160
