"""Audio of one turn as numbered, time-stamped chunks."""

from __future__ import annotations

import time
from typing import Final

from orchestrator import protocol
from orchestrator.client.arguments import BYTES_PER_SAMPLE
from orchestrator.core.types import AudioFormat

CHUNK_S: Final = 0.1
"""Longest chunk that audio is cut into."""


class AudioChunks:
    """Cuts 16-bit PCM into chunks of whole samples, and numbers and stamps them."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        """`sample_rate` in Hz; the samples of the channels are interleaved."""
        self._sample_rate, self._channels = sample_rate, channels
        self._partial_sample = b""
        """Start of a sample whose other bytes come with the next piece."""
        self._samples = 0
        self.count = 0
        """Chunks made so far."""
        self.began_ms = 0.0
        """Timestamp of the first sample in milliseconds of this machine's clock; 0 before it."""

    def bytes_of(self, seconds: float) -> int:
        """Size of this much audio in bytes, a whole number of samples."""
        return round(seconds * self._sample_rate) * self._channels * BYTES_PER_SAMPLE

    def cut(self, pcm: bytes) -> list[bytes]:
        """Pieces of at most `CHUNK_S`; a partial sample at the end is kept for the next call."""
        pcm = self._partial_sample + pcm
        whole = len(pcm) - len(pcm) % (BYTES_PER_SAMPLE * self._channels)
        self._partial_sample = pcm[whole:]
        step = self.bytes_of(CHUNK_S)
        return [pcm[start : min(start + step, whole)] for start in range(0, whole, step)]

    def start_clock(self) -> None:
        """Take the present as the time of the first sample."""
        self.began_ms = float(time.time_ns() // 1_000_000)

    def stamp(self, audio: bytes) -> protocol.WireAudioChunk:
        """The next chunk's number, timestamp and format, without its data."""
        chunk = protocol.WireAudioChunk(
            data="",
            timestamp=round(self.began_ms + 1000.0 * self._samples / self._sample_rate, 3),
            sequence_number=self.count,
            sample_rate=self._sample_rate,
            channels=self._channels,
            format=AudioFormat.PCM,
        )
        self._samples += len(audio) // (BYTES_PER_SAMPLE * self._channels)
        self.count += 1
        return chunk
