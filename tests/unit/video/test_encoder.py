"""Coded frames decode, at once, from any keyframe on."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
import simplejpeg
from moving_pictures import moving_picture

from orchestrator.core.types import RgbImage, VideoFormat
from orchestrator.video.encoder import (
    KEYFRAME_INTERVAL,
    EncodedPicture,
    finest_quantiser,
    make_encoder,
)


def coded(count: int, size: int = 256, forced: tuple[int, ...] = ()) -> list[EncodedPicture]:
    encoder = make_encoder(VideoFormat.H264, size, 20.0, 80)
    return [
        encoder.encode(moving_picture(index, size), force_keyframe=index in forced)
        for index in range(count)
    ]


def decoded(stream: bytes) -> list[RgbImage]:
    with av.open(io.BytesIO(stream), format="h264") as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.slow
def test_h264_of_a_whole_turn_decodes_to_the_same_pictures(size: int) -> None:
    pictures = decoded(b"".join(picture.data for picture in coded(40, size)))
    assert len(pictures) == 40
    for index, picture in enumerate(pictures):
        assert np.abs(picture.astype(int) - moving_picture(index, size)).mean() < 12


def test_a_keyframe_comes_every_interval_and_on_demand() -> None:
    keyframes = [
        index for index, picture in enumerate(coded(70, forced=(41,))) if picture.is_keyframe
    ]
    assert keyframes == [0, KEYFRAME_INTERVAL, 41]


def test_a_decoder_can_join_at_any_keyframe() -> None:
    pictures = coded(60, forced=(41,))
    assert len(decoded(b"".join(picture.data for picture in pictures[41:]))) == 19


def test_h264_is_annex_b_baseline_with_parameter_sets_at_keyframes() -> None:
    pictures = coded(31)
    for picture in (pictures[0], pictures[30]):
        types = [
            picture.data[at + 4] & 31
            for at in range(len(picture.data) - 4)
            if picture.data[at : at + 4] == b"\0\0\0\1"
        ]
        assert types[:2] == [7, 8]
    sps = pictures[0].data
    assert sps[:4] == b"\0\0\0\1"
    assert sps[5] == 66


def test_jpeg_has_the_size_of_the_picture_and_its_colours() -> None:
    picture = make_encoder(VideoFormat.JPEG, 256, 20.0, 90).encode(
        moving_picture(0), force_keyframe=False
    )
    assert picture.is_keyframe
    assert simplejpeg.decode_jpeg_header(picture.data)[:2] == (256, 256)
    assert (
        np.abs(simplejpeg.decode_jpeg(picture.data, "RGB").astype(int) - moving_picture(0)).mean()
        < 6
    )


def test_more_quality_is_more_bytes() -> None:
    sizes = [
        len(
            make_encoder(VideoFormat.JPEG, 256, 20.0, quality)
            .encode(moving_picture(0), force_keyframe=False)
            .data
        )
        for quality in (0, 50, 100)
    ]
    assert sizes == sorted(sizes)
    assert finest_quantiser(80) == 20
    assert finest_quantiser(100) < finest_quantiser(50) < finest_quantiser(0) <= 51
