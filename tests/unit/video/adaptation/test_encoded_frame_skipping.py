"""Of frames that are coded already a congested client is spared those on which nothing builds that
it is still sent.
"""

from __future__ import annotations

import io

import av
import pytest
from moving_pictures import moving_picture

from orchestrator.core.types import (
    LipSyncModel,
    Resolution,
    StreamingFrame,
    VideoFormat,
    VideoGenerationConfig,
)
from orchestrator.video.stream_state import StreamState
from orchestrator.video.streamer import VideoStreamingService


def coded(
    video_format: VideoFormat, count: int, keyframes: tuple[int, ...]
) -> list[StreamingFrame]:
    state, config, frames = StreamState(), VideoGenerationConfig(format=video_format), []
    for number in range(count):
        picture = state.encode(
            moving_picture(number), config, 50.0 * number, force_keyframe=number in keyframes
        )
        frames.append(
            StreamingFrame(
                picture.data,
                number,
                50.0 * number,
                50.0 * number,
                video_format,
                picture.is_keyframe,
                Resolution(256, 256),
                LipSyncModel.TPSM,
                False,
            )
        )
    return frames


def numbers(frames: list[StreamingFrame]) -> list[int]:
    return [frame.sequence_number for frame in frames]


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        (0.2, list(range(20))),
        (0.6, [0, 1, 2, 3, 8, 9, 10, *range(14, 20)]),
        (0.9, [0, 1, 2, 8, 9, *range(14, 20)]),
    ],
)
def test_of_h264_the_ends_of_groups_go_and_keyframes_never(level: float, kept: list[int]) -> None:
    frames = coded(VideoFormat.H264, 20, keyframes=(0, 8, 14))
    assert numbers(VideoStreamingService().skip_frames_for_congestion(frames, level)) == kept


@pytest.mark.parametrize("batch", [4, 7, 40])
def test_what_is_left_of_coded_h264_decodes_batch_after_batch(batch: int) -> None:
    frames, left = coded(VideoFormat.H264, 40, keyframes=(0, 5, 9, 22)), list[StreamingFrame]()
    for begin in range(0, 40, batch):
        left += VideoStreamingService().skip_frames_for_congestion(
            frames[begin : begin + batch], 1.0
        )
    assert {frame.sequence_number for frame in frames if frame.is_keyframe} <= set(numbers(left))
    with av.open(
        io.BytesIO(b"".join(frame.data for frame in left)),
        format="h264",
        options={"err_detect": "explode"},
    ) as stream:
        pictures = [
            picture.to_ndarray(format="rgb24").astype(int) for picture in stream.decode(video=0)
        ]
    assert len(pictures) == len(left) < 40
    errors = [
        abs(picture - moving_picture(frame.sequence_number)).mean()
        for picture, frame in zip(pictures, left, strict=True)
    ]
    assert max(errors) < 12.0, "each shows what it was made of"


def test_jpeg_frames_stand_alone_and_are_thinned() -> None:
    frames = coded(VideoFormat.JPEG, 6, keyframes=())
    service = VideoStreamingService()
    assert [
        numbers(service.skip_frames_for_congestion(frames, level)) for level in (0.0, 0.6, 0.9)
    ] == [
        [0, 1, 2, 3, 4, 5],
        [0, 2, 4],
        [0, 3],
    ]
    assert service.skip_frames_for_congestion([], 0.9) == []
