"""Read a whole audio file of any common kind for offline rendering.

The result is the 16 kHz mono signal that the live path would produce.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.core.types import Samples

MAX_FILE_S = 600.0
"""Longest recording rendered by default."""

RATES_HZ: Final = (4_000, 384_000)
"""Accepted sample rates, from telephones to studios.

Headers may claim anything, and silence at 655 kHz compresses to next to nothing.
"""

MAX_CHANNELS: Final = 8
"""7.1 surround."""

MAX_KEPT_RATE_HZ: Final = 48_000
"""Highest rate at which a recording is kept: sufficient for hearing and for movies."""

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
"""Offset and text by which a container is recognised.

The container is chosen here and not by probing, since some that a probe would find (playlists) make
the reader open other files.
"""
_MAGIC_BYTES: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A whole recording at its own rate, in one or two channels."""

    samples: NDArray[np.float32]
    """`[channels, n]`, full scale 1.0."""
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return int(self.samples.shape[1]) / self.rate_hz

    def resampled(self, rate_hz: int) -> Sound:
        """The recording at another rate."""
        import soxr

        if rate_hz == self.rate_hz:
            return self
        return Sound(soxr.resample(self.samples.T, self.rate_hz, rate_hz).T, rate_hz)

    def mono_16k(self) -> Samples:
        """The signal that the live path would produce."""
        mixed = Sound(self.samples.mean(axis=0, keepdims=True), self.rate_hz)
        signal: Samples = mixed.resampled(SAMPLE_RATE_HZ).samples[0]
        return signal


def read_audio(source: Path | bytes, *, max_duration_s: float = MAX_FILE_S) -> Samples:
    """As `read_sound`, as the 16 kHz mono signal of the live path."""
    samples: Samples = _gathered(source, max_duration_s, as_heard=True).samples[0]
    return samples


def read_sound(source: Path | bytes, *, max_duration_s: float = MAX_FILE_S) -> Sound:
    """Read a WAV, MP3, FLAC, Ogg (Opus, Vorbis), M4A/MP4, AAC, AIFF or WebM file.

    Padding is removed. At most 48 kHz and two channels are kept, whatever the file has. Raises
    `LipSyncError` on the field `audio`: unreadable, unknown, without audio, of a rate or with
    channels that no recording has, or longer than `max_duration_s`.
    """
    return _gathered(source, max_duration_s, as_heard=False)


def decode_sound(
    file: BinaryIO, write: Callable[[bytes], object], *, max_duration_s: float, as_heard: bool
) -> tuple[int, int]:
    """Pass the audio to `write` in pieces of interleaved little-endian float32.

    Pieces avoid a second copy in memory. Returns channels and rate. `as_heard` selects the signal
    of the live path. Errors as for `read_sound`.
    """
    import av  # imported here, since the live path needs no file reader

    try:
        with av.open(file, format=_container(file), metadata_errors="ignore") as container:
            rate_hz, channels = _layout(container)
            kept = (
                (1, SAMPLE_RATE_HZ)
                if as_heard
                else (min(2, channels), min(MAX_KEPT_RATE_HZ, rate_hz))
            )
            length = 0
            for block in _resampled(
                _blocks(container, rate_hz, channels, max_duration_s), rate_hz, *kept
            ):
                write(block.tobytes())
                length += len(block)
    except av.FFmpegError as error:
        raise _bad(f"the file cannot be decoded ({error.strerror})") from error
    if not length:
        raise _bad("the file holds no sound")
    return kept


def sound_of(samples: NDArray[np.float32], channels: int, rate_hz: int) -> Sound:
    """The sound that `decode_sound` wrote."""
    return Sound(samples.reshape(-1, channels).T, rate_hz)


def _gathered(source: Path | bytes, max_duration_s: float, *, as_heard: bool) -> Sound:
    written = bytearray()
    with _opened(source) as file:
        channels, rate_hz = decode_sound(
            file, written.extend, max_duration_s=max_duration_s, as_heard=as_heard
        )
    return sound_of(np.frombuffer(written, np.float32), channels, rate_hz)


def _opened(source: Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return source.open("rb")
    except OSError as error:
        raise _bad(f"{source.name} cannot be read ({error.strerror})") from error


def _container(file: BinaryIO) -> str:
    data = file.read(_MAGIC_BYTES)
    file.seek(0)
    for offset, magic, name in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return name
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        # an ADTS header has layer 0, an MPEG header has not
        return "aac" if data[1] & 0x06 == 0 else "mp3"
    raise _bad("the file is not WAV, MP3, FLAC, Ogg, M4A, AAC, AIFF or WebM")


def _layout(container: Any) -> tuple[int, int]:
    """Rate and channels of the first audio stream."""
    if not container.streams.audio:
        raise _bad("the file holds no sound")
    codec = container.streams.audio[0].codec_context
    if codec is None or not codec.sample_rate or not codec.layout.nb_channels:
        raise _bad("the audio codec is not supported")
    if not RATES_HZ[0] <= codec.sample_rate <= RATES_HZ[1]:
        raise _bad(
            f"the sound has {codec.sample_rate} samples a second; "
            f"send {RATES_HZ[0]} to {RATES_HZ[1]}"
        )
    if codec.layout.nb_channels > MAX_CHANNELS:
        raise _bad(
            f"the sound has {codec.layout.nb_channels} channels; send at most {MAX_CHANNELS}"
        )
    return codec.sample_rate, codec.layout.nb_channels


def _blocks(
    container: Any, rate_hz: int, channels: int, max_duration_s: float
) -> Iterator[NDArray[np.float32]]:
    """Pieces `[n, 1 or 2]` at the file's rate.

    FFmpeg drops the codecs' own delay and padding where the file notes them.
    """
    import av

    # FFmpeg mixes down to stereo by the channels' positions; from there the channels are averaged,
    # as in the live path.
    to_floats = av.AudioResampler(
        format="flt", layout="mono" if channels == 1 else "stereo", rate=rate_hz
    )
    kinds: set[tuple[int, str, str]] = set()
    length = 0
    for frame in container.decode(audio=0):
        kinds.add((frame.sample_rate, frame.layout.name, frame.format.name))
        if len(kinds) > 1:
            raise _bad("the file changes its rate, channels or coding midway")
        length += frame.samples
        if length > max_duration_s * rate_hz:
            raise _bad(f"the file is longer than {max_duration_s:g} s")
        frame.pts = None
        for floats in to_floats.resample(frame):
            block = floats.to_ndarray().reshape(-1, min(2, channels))
            if not np.isfinite(block).all():
                raise _bad("the file holds samples that are NaN or infinite")
            yield np.clip(block, -1.0, 1.0)


def _resampled(
    blocks: Iterator[NDArray[np.float32]], rate_hz: int, channels: int, kept_rate_hz: int
) -> Iterator[NDArray[np.float32]]:
    """The same in `channels` and at another rate, equal to resampling the whole."""
    import soxr

    to_rate = (
        soxr.ResampleStream(rate_hz, kept_rate_hz, channels, dtype="float32")
        if rate_hz != kept_rate_hz
        else None
    )
    for block in blocks:
        mixed = block if block.shape[1] == channels else block.mean(axis=1, keepdims=True)
        yield mixed if to_rate is None else to_rate.resample_chunk(mixed)
    if to_rate is not None:
        yield to_rate.resample_chunk(np.zeros((0, channels), np.float32), last=True)


def _bad(message: str) -> LipSyncError:
    return invalid_field(_FIELD, message, LipSyncErrorCode.AUDIO_PROCESSING_FAILED)
