"""MP4 writer: pictures and sound, synchronised to the sample, playable everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from orchestrator.audio.files import Sound
from orchestrator.core.types import RgbImage

AAC_RATES_HZ: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Sample rates of AAC that are kept; other sounds are resampled to 48 kHz."""

CRF: Final = "18"
"""x264's constant rate factor: visually almost lossless."""

BT601: Final = 6
"""SMPTE 170M in H.273, the matrix that cv2 uses.

Players assume BT.709 for untagged video, which tints the skin.
"""

VIDEO_RANGE: Final = 1
"""Luma 16..235, FFmpeg's AVCOL_RANGE_MPEG."""

AAC_BITS_PER_SAMPLE: Final = 2.0
"""96 kbit/s a channel at 48 kHz; proportional below, where the encoder refuses more."""


class Movie:
    """Writer of one MP4, pictures one by one, the sound interleaved. A context manager.

    The file appears under its name, replacing an older one, only when it is complete. Entering,
    adding and leaving are blocking: the sound is resampled, frames are encoded, and the index is
    moved to the front. An event loop runs each of them in a thread, one after another.
    """

    def __init__(self, path: Path, sound: Sound, *, size: int, fps: float, note: str) -> None:
        """`sound` is held in memory; `note` becomes the comment and description.

        Opens no file yet.
        """
        self._path = path
        self._unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._sound, self._size, self._note = sound, size, note
        self._fps = Fraction(fps).limit_denominator(1001)
        self._container: Any = None
        self._frames = 0
        self._samples = 0

    def __enter__(self) -> Movie:
        """Open the file; raises `OSError`, as the other methods do."""
        if self._sound.rate_hz not in AAC_RATES_HZ:
            self._sound = self._sound.resampled(AAC_RATES_HZ[-1])
        self._container = av.open(
            str(self._unfinished), "w", format="mp4", options={"movflags": "+faststart"}
        )
        self._container.metadata.update({"comment": self._note, "description": self._note})
        self._video = _video_stream(self._container, self._size, self._fps)
        self._audio = _audio_stream(self._container, self._sound)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the file, or remove it after an error or a failed `__enter__`."""
        if self._container is None:
            return
        try:
            with closing(self._container):
                if error is None:
                    self._finish()
            if error is None:
                self._unfinished.replace(self._path)
        finally:
            self._unfinished.unlink(missing_ok=True)

    def add(self, images: Iterable[RgbImage]) -> None:
        """Add pictures `[size, size, 3]`: picture k is shown from k / fps seconds on."""
        for image in images:
            planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = self._frames, 1 / self._fps
            self._frames += 1
            self._container.mux(self._video.encode(frame))
        self._add_sound_until(self._frames / self._fps)

    def _finish(self) -> None:
        self._add_sound_until(Fraction(self._sound.samples.shape[1], self._sound.rate_hz) + 1)
        self._container.mux(self._video.encode(None))
        self._container.mux(self._audio.encode(None))

    def _add_sound_until(self, end_s: Fraction | float) -> None:
        """Interleave the sound with the pictures, so that the file plays while it is downloaded."""
        end = min(self._sound.samples.shape[1], int(end_s * self._sound.rate_hz))
        if end <= self._samples:
            return
        samples = np.ascontiguousarray(self._sound.samples[:, self._samples : end])
        frame = av.AudioFrame.from_ndarray(
            samples, format="fltp", layout=self._audio.codec_context.layout.name
        )
        frame.sample_rate = self._sound.rate_hz
        frame.pts, frame.time_base = self._samples, Fraction(1, self._sound.rate_hz)
        self._samples = end
        self._container.mux(self._audio.encode(frame))


def _video_stream(container: Any, size: int, fps: Fraction) -> VideoStream:
    stream: VideoStream = container.add_stream("libx264", rate=fps)
    context = stream.codec_context
    context.width = context.height = size
    context.pix_fmt = "yuv420p"
    context.time_base = 1 / fps
    context.color_primaries = context.color_trc = context.colorspace = BT601
    context.color_range = VIDEO_RANGE
    # Without B-frames the first picture needs no edit list to start at zero.
    context.options = {"preset": "medium", "crf": CRF, "bf": "0"}
    return stream


def _audio_stream(container: Any, sound: Sound) -> AudioStream:
    channels = sound.samples.shape[0]
    stream: AudioStream = container.add_stream("aac", rate=sound.rate_hz)
    stream.codec_context.layout = "mono" if channels == 1 else "stereo"
    stream.codec_context.bit_rate = int(AAC_BITS_PER_SAMPLE * sound.rate_hz * channels)
    return stream
