"""Reads a whole audio file of any common kind for offline rendering, as the 16 kHz mono signal the live path would hear."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.mel import SAMPLE_RATE_HZ
from orchestrator.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.types import Samples

MAX_FILE_S = 600.0
"""Longest recording rendered by default."""
_FIELD = "audio"
_MAGIC: Final = (
    (0, b"RIFF", "wav"),
    (0, b"RF64", "wav"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (4, b"ftyp", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"FORM", "aiff"),
)
"""Where a container's name stands. The container is chosen here and not by probing, since some that a probe would find
(playlists) make the reader open other files."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A whole recording as it was made, in one or two channels."""

    samples: NDArray[np.float32]
    """`[channels, n]`, full scale 1.0."""
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.rate_hz

    def resampled(self, rate_hz: int) -> Sound:
        """The same sound at another rate."""
        import soxr

        if rate_hz == self.rate_hz:
            return self
        return Sound(soxr.resample(self.samples.T, self.rate_hz, rate_hz).T, rate_hz)

    def mono_16k(self) -> Samples:
        """The signal that the live path would hear."""
        mixed = Sound(self.samples.mean(axis=0, keepdims=True), self.rate_hz)
        signal: Samples = mixed.resampled(SAMPLE_RATE_HZ).samples[0]
        return signal


def read_audio(source: Path | bytes, *, max_duration_s: float = MAX_FILE_S) -> Samples:
    """`read_sound` as the 16 kHz mono signal that the live path would hear."""
    return read_sound(source, max_duration_s=max_duration_s).mono_16k()


def read_sound(source: Path | bytes, *, max_duration_s: float = MAX_FILE_S) -> Sound:
    """The audio of a WAV, MP3, FLAC, Ogg (Opus, Vorbis), M4A/MP4, AAC, AIFF or WebM file, padding removed.

    Raises `LipSyncError` on the field `audio`: unreadable, unknown, without sound, or longer than `max_duration_s`.
    """
    import av  # here, since the live path needs no file reader

    data = _bytes_of(source)
    try:
        with av.open(io.BytesIO(data), format=_container(data), metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise _bad("the file holds no sound")
            return _decoded(container, max_duration_s)
    except av.FFmpegError as error:
        raise _bad(f"the file cannot be decoded ({error.strerror})") from error


def _bytes_of(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise _bad(f"{source.name} cannot be read ({error.strerror})") from error


def _container(data: bytes) -> str:
    for offset, magic, name in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return name
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        return "aac" if data[1] & 0x06 == 0 else "mp3"  # an ADTS header has layer 0, an MPEG one has not
    raise _bad("the file is not WAV, MP3, FLAC, Ogg, M4A, AAC, AIFF or WebM")


def _decoded(container: Any, max_duration_s: float) -> Sound:
    """At the file's rate; FFmpeg drops the codecs' own delay and padding where the file notes them."""
    import av

    codec = container.streams.audio[0].codec_context
    if codec is None or not codec.sample_rate or not codec.layout.nb_channels:
        raise _bad("the sound is coded in a way that cannot be read")
    rate = codec.sample_rate
    # Down to stereo FFmpeg mixes by the channels' places; from there we average, as the live path does.
    to_floats = av.AudioResampler(format="fltp", layout="mono" if codec.layout.nb_channels == 1 else "stereo", rate=rate)
    parts: list[NDArray[np.float32]] = []
    kinds: set[tuple[int, str, str]] = set()
    length = 0
    for frame in container.decode(audio=0):
        kinds.add((frame.sample_rate, frame.layout.name, frame.format.name))
        if len(kinds) > 1:
            raise _bad("the file changes its rate, channels or coding midway")
        frame.pts = None
        for floats in to_floats.resample(frame):
            parts.append(floats.to_ndarray().astype(np.float32, copy=False))
            length += parts[-1].shape[1]
        if length > max_duration_s * rate:
            raise _bad(f"the file is longer than {max_duration_s:g} s")
    if not length:
        raise _bad("the file holds no sound")
    samples = np.concatenate(parts, axis=1)
    if not np.isfinite(samples).all():
        raise _bad("the file holds samples that are NaN or infinite")
    return Sound(np.clip(samples, -1.0, 1.0), rate)


def _bad(message: str) -> LipSyncError:
    return invalid_field(_FIELD, message, LipSyncErrorCode.AUDIO_PROCESSING_FAILED)
