"""Decode a turn's chunks to mono samples, and hold the turn to one kind of audio."""

from __future__ import annotations

from orchestrator.audio.codecs.opus import OpusDecoder
from orchestrator.audio.codecs.opus_packet import OPUS_RATE_HZ, packet_samples
from orchestrator.audio.codecs.pcm import MIN_SAMPLE_RATE_HZ, PcmLayout, check_layout, mono_samples
from orchestrator.audio.codecs.wav import WavPart, is_wav, read_wav
from orchestrator.core.errors import LipSyncError, invalid_field
from orchestrator.core.types import AudioChunk, AudioFormat, Samples

MAX_CHUNK_S = 2.1
"""Longest accepted chunk: the protocol's 2 s, with room for whole codec frames."""


class AudioDecoder:
    """Decoder of one turn.

    A chunk that raises leaves its state unchanged, and the next chunk is decoded.
    """

    def __init__(self, max_chunk_s: float = MAX_CHUNK_S) -> None:
        self._max_chunk_s = max_chunk_s
        self._format: AudioFormat | None = None
        self._layout: PcmLayout | None = None
        self._wav_bytes_to_come = 0
        self._opus: OpusDecoder | None = None

    @property
    def sample_rate_hz(self) -> int | None:
        """Rate of the samples that `decode` returns; None before the first good chunk."""
        if self._format is AudioFormat.OPUS:
            return OPUS_RATE_HZ
        return self._layout.sample_rate_hz if self._layout else None

    def decode(self, chunk: AudioChunk) -> Samples:
        """Decode a chunk to mono samples at `sample_rate_hz`.

        A WAV header's and an Opus stream's own rate and channel count override the message's.
        Raises `LipSyncError` naming `audioChunk.data`, `.sampleRate`, `.channels` or `.format`.
        """
        if self._format not in (None, chunk.format):
            raise invalid_field(
                "audioChunk.format",
                f"is {chunk.format.value!r}, but the turn began as {self._format.value!r}",
            )
        if not chunk.data:
            raise invalid_field("audioChunk.data", "is empty")
        samples = self._decode_as(chunk)
        self._format = chunk.format
        return samples

    def _decode_as(self, chunk: AudioChunk) -> Samples:
        if chunk.format is AudioFormat.PCM:
            return self._decode_layout(chunk.data, PcmLayout(chunk.sample_rate_hz, chunk.channels))
        if chunk.format is AudioFormat.WAV:
            return self._decode_wav(chunk.data)
        opus = self._opus or OpusDecoder()
        samples = opus.decode(chunk.data, self._max_chunk_s)
        self._opus = opus
        return samples

    def _decode_wav(self, data: bytes) -> Samples:
        """Decode a whole WAV file, its beginning, or bare samples that continue it."""
        part = read_wav(data) if is_wav(data) else self._continuation(data)
        samples = self._decode_layout(part.samples, part.layout)
        self._wav_bytes_to_come = part.bytes_to_come
        return samples

    def _continuation(self, data: bytes) -> WavPart:
        """Bytes up to the announced size; metadata at the file's end follows it, no samples."""
        if self._layout is None:
            raise invalid_field("audioChunk.data", "does not begin with a WAV header")
        return WavPart(
            self._layout,
            data[: self._wav_bytes_to_come],
            max(0, self._wav_bytes_to_come - len(data)),
        )

    def _decode_layout(self, data: bytes, layout: PcmLayout) -> Samples:
        check_layout(layout)
        self._check_unchanged(layout)
        duration_s = len(data) / layout.frame_bytes / layout.sample_rate_hz
        if duration_s > self._max_chunk_s:
            raise invalid_field(
                "audioChunk.data",
                f"holds {duration_s:.2f} s of audio; send at most {self._max_chunk_s:g} s",
            )
        samples = mono_samples(data, layout)
        self._layout = layout
        return samples

    def _check_unchanged(self, layout: PcmLayout) -> None:
        if self._layout is None:
            return
        if layout.sample_rate_hz != self._layout.sample_rate_hz:
            raise _changed(
                "audioChunk.sampleRate", layout.sample_rate_hz, self._layout.sample_rate_hz
            )
        if layout.channels != self._layout.channels:
            raise _changed("audioChunk.channels", layout.channels, self._layout.channels)


def _changed(field: str, now: int, before: int) -> LipSyncError:
    return invalid_field(
        field, f"is {now}, but the turn began with {before}; it may change with the next turn"
    )


def estimated_duration_s(chunk: AudioChunk) -> float:
    """Duration of a chunk from its size and headers alone, without decoding.

    For buffer limits and for chunks dropped undecoded. Exact for PCM, WAV with a header and bare
    Opus packets; Ogg pages count their bytes at 32 kbit/s. Never raises.
    """
    if chunk.format is AudioFormat.OPUS:
        samples = 0 if chunk.data[:4] == b"OggS" else packet_samples(chunk.data)
        return samples / OPUS_RATE_HZ if samples else len(chunk.data) / 4000
    layout, size = (
        PcmLayout(max(MIN_SAMPLE_RATE_HZ, chunk.sample_rate_hz), max(1, chunk.channels)),
        len(chunk.data),
    )
    if chunk.format is AudioFormat.WAV and is_wav(chunk.data):
        try:
            part = read_wav(chunk.data)
        except LipSyncError:
            return 0.0
        layout, size = part.layout, len(part.samples)
    return size / layout.frame_bytes / layout.sample_rate_hz
