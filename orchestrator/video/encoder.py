"""Frame encoders: JPEG, and H.264 as Annex B for decoders that join at any keyframe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

import av
import cv2
import numpy as np
import simplejpeg
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from orchestrator.core.types import RgbImage, VideoFormat

KEYFRAME_INTERVAL: Final = 30
"""Frames between keyframes, the specification's default."""

BITRATE_BPS: Final = 500_000
"""Target of the H.264 stream, the specification's default; simple pictures take less."""

BUFFER_S: Final = 0.5
"""Decoder buffer in seconds of the target bitrate, by which a keyframe may exceed it."""

MIN_JPEG_QUALITY: Final = 20
"""Lowest JPEG quality: below it skin breaks into blocks of false colours.

A target that this quality exceeds is met by dropping frames.
"""


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """One encoded picture."""

    data: bytes
    is_keyframe: bool


class Encoder(Protocol):
    """Encoder of pictures of one size, in order."""

    def encode(self, image: RgbImage, *, force_keyframe: bool) -> EncodedPicture:
        """Encode one picture `[h, w, 3]` without delay."""
        ...


class JpegEncoder:
    """JPEG encoder: every frame is a keyframe.

    With a target bitrate, pictures above their share of it lower the quality of the next ones.
    """

    def __init__(self, quality: int, fps: float, bitrate_bps: int | None) -> None:
        self._highest = self._quality = max(1, quality)
        self._fps = fps
        self._share_bytes = math.inf
        self.aim(bitrate_bps)

    def aim(self, bitrate_bps: int | None) -> None:
        """Set the target from the next picture on; None restores the requested quality."""
        self._share_bytes = math.inf if bitrate_bps is None else bitrate_bps / 8.0 / self._fps

    def encode(self, image: RgbImage, *, force_keyframe: bool) -> EncodedPicture:
        """Encode as JPEG with 4:2:0 chroma."""
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), self._quality, "RGB", "420")
        if len(data) > self._share_bytes:
            lower = min(
                self._quality - 1, round(self._quality * max(0.7, self._share_bytes / len(data)))
            )
            self._quality = max(min(MIN_JPEG_QUALITY, self._highest), lower)
        elif len(data) < 0.9 * self._share_bytes:
            self._quality = min(
                self._highest, self._quality + (2 if len(data) < 0.8 * self._share_bytes else 1)
            )
        return EncodedPicture(data, is_keyframe=True)


class H264Encoder:
    """H.264 encoder: constrained baseline, no B-frames, no look-ahead.

    SPS and PPS precede every keyframe. The bitrate is limited to the target, and the quantiser to
    that of `quality`.
    """

    def __init__(self, size: int, fps: float, quality: int, bitrate_bps: int = BITRATE_BPS) -> None:
        self._pts = 0
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, VideoCodecContext)
        context.width = context.height = size
        context.pix_fmt = "yuv420p"
        context.framerate = Fraction(fps).limit_denominator(1000)
        context.time_base = 1 / context.framerate
        context.gop_size = KEYFRAME_INTERVAL
        context.thread_count = 1
        context.bit_rate = bitrate_bps
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "maxrate": str(bitrate_bps),
            "bufsize": str(round(BUFFER_S * bitrate_bps)),
            "qmin": str(finest_quantiser(quality)),
            "forced-idr": "1",
            # cv2 converts with BT.601 in video range; without this a browser assumes BT.709 and
            # tints the skin.
            "x264-params": "sliced-threads=0:colorprim=smpte170m:transfer=smpte170m:"
            "colormatrix=smpte170m:range=tv",
        }
        self._context = context

    def encode(self, image: RgbImage, *, force_keyframe: bool) -> EncodedPicture:
        """Encode one access unit in Annex B."""
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = self._pts, self._context.time_base
        frame.pict_type = PictureType.I if force_keyframe else PictureType.NONE
        self._pts += 1
        (packet,) = self._context.encode(frame)
        return EncodedPicture(bytes(packet), bool(packet.is_keyframe))


def finest_quantiser(quality: int) -> int:
    """x264's smallest quantiser for the wire's quality 0..100.

    80 gives 20, which x264's default CRF of 23 uses for keyframes.
    """
    return max(1, round(48 - 0.35 * quality))


def make_encoder(
    video_format: VideoFormat, size: int, fps: float, quality: int, bitrate_bps: int | None = None
) -> Encoder:
    """Create the requested encoder.

    Without a target JPEG keeps its quality, and H.264 uses `BITRATE_BPS`.
    """
    if video_format is VideoFormat.JPEG:
        return JpegEncoder(quality, fps, bitrate_bps)
    return H264Encoder(size, fps, quality, bitrate_bps or BITRATE_BPS)
