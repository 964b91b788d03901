"""Audio of one turn: decoded, resampled, counted and turned into feature rows.

The rows are the same for any chunking.
"""

from __future__ import annotations

import sys
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.codecs.decoder import MAX_CHUNK_S, AudioDecoder
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.audio.features.streaming_rows import FeatureRows
from orchestrator.audio.resampler import Resampler, make_resampler, resampled_length
from orchestrator.audio.row_buffer import RowBuffer
from orchestrator.audio.voice_activity import BLOCK_SAMPLES, LevelHistory
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import AudioChunk, FeatureSpec, Samples

MAX_BUFFERED_S = 120.0
"""Audio that a stream holds before it is discarded; 120 s are 8 MB."""

SILENCE_SAMPLES: Final = 1024
"""Samples of silence on both sides of a turn: more than any feature row reaches."""


class AudioStream:
    """Audio in, feature rows of any kind out; the sample count is the turn's media clock.

    Mel frame i is centred on sample `i * hop_length` at 16 kHz, as in `log_mel`. Rows are computed
    when a model needs them, from samples that are kept for a while, so that another model can take
    over within a turn. Memory is bounded: samples before `discard_before` are dropped, and a stream
    without a reader rejects more than `max_buffered_s`.
    """

    def __init__(
        self, *, max_chunk_s: float = MAX_CHUNK_S, max_buffered_s: float = MAX_BUFFERED_S
    ) -> None:
        self._max_buffered_samples = round(max_buffered_s * SAMPLE_RATE_HZ)
        self._decoder = AudioDecoder(max_chunk_s)
        self._resampler: Resampler | None = None
        self._source_samples = 0
        self._leading_silence = 0
        self._finished = False
        self._levels = LevelHistory()
        self._samples = RowBuffer(1, -SILENCE_SAMPLES, capacity=1 << 14)
        self._samples.append(np.zeros((SILENCE_SAMPLES, 1), np.float32))
        self._rows: dict[FeatureSpec, FeatureRows] = {}
        self._fingerprint = blake2b(digest_size=16)
        self._fingerprinted = 0

    @property
    def samples_received(self) -> int:
        """The media clock: samples of this turn at 16 kHz.

        Includes those still inside the resampler.
        """
        return self._leading_silence + resampled_length(self._source_samples, self._source_rate_hz)

    @property
    def duration_s(self) -> float:
        """The media clock in seconds."""
        return self.samples_received / SAMPLE_RATE_HZ

    @property
    def samples_ready(self) -> int:
        """Samples from which rows can be computed; infinite once finished."""
        return sys.maxsize if self._finished else self._samples.end

    def rows_ready(self, spec: FeatureSpec) -> int:
        """Rows below this number are available; infinite once finished."""
        return (
            sys.maxsize
            if self._finished
            else max(0, (self._samples.end - spec.reach_samples) // spec.hop_length + 1)
        )

    def push(self, chunk: AudioChunk) -> None:
        """Add the next chunk.

        Raises `LipSyncError` naming the wire field; the stream is unchanged then.
        """
        self._check_room()
        self._push_source(self._decoder.decode(chunk))

    def push_silence(self, duration_ms: float) -> None:
        """Add silence in place of lost audio, so that the media clock stays right."""
        self._check_room()
        if not 0.0 <= duration_ms <= 1000.0 * MAX_BUFFERED_S:
            raise ValueError(
                f"silence of {duration_ms} ms is not between 0 and {MAX_BUFFERED_S:g} s"
            )
        silence = np.zeros(round(duration_ms * self._source_rate_hz / 1000.0), np.float32)
        if self._decoder.sample_rate_hz is None:
            self._leading_silence += len(silence)
            self._push_16k(silence)
        else:
            self._push_source(silence)

    def finish(self) -> None:
        """End the utterance: silence follows, and every frame is available."""
        if self._finished:
            return
        self._finished = True
        if self._resampler is not None:
            self._push_16k(self._resampler.flush())
        self._push_16k(np.zeros(SILENCE_SAMPLES, np.float32))

    def window(self, spec: FeatureSpec, last_row: int, rows: int) -> NDArray[np.float32]:
        """Rows `last_row - rows + 1 .. last_row`, `[rows, columns]`, oldest first.

        Valid until the next push. Rows beyond the turn's samples hold the value of silence. Raises
        `ValueError` for rows not ready or dropped.
        """
        begin, end = last_row - rows + 1, last_row + 1
        if end > self.rows_ready(spec):
            raise ValueError(f"row {last_row} is not ready; {self.rows_ready(spec)} are")
        made = self._rows.get(spec)
        if made is None:
            made = self._rows[spec] = FeatureRows(spec, self._samples.first)
        made.extend(self._samples)
        if begin < made.first and self._samples.first > -SILENCE_SAMPLES:
            raise ValueError(f"row {begin} was dropped; {made.first} is the oldest kept")
        return made.window(begin, end)

    def fingerprint(self, until_sample: int) -> bytes | None:
        """Hash of the turn's audio before `until_sample`, which grows from call to call.

        None where some of it was dropped before it was hashed.
        """
        until = min(until_sample, self._samples.end)
        if self._fingerprinted < max(0, self._samples.first):
            return None
        if until > self._fingerprinted:
            self._fingerprint.update(self._samples.rows(self._fingerprinted, until).tobytes())
            self._fingerprinted = until
        return self._fingerprint.digest()

    def is_silent(self, start_s: float, end_s: float) -> bool:
        """True if the span, in seconds of the turn, holds nothing that could be speech."""
        return self._levels.is_silent(start_s, end_s)

    def discard_before(self, sample: int) -> None:
        """Drop samples and rows before `sample`, and audio levels that are no longer needed."""
        self._samples.discard_before(sample)
        self._rows = {
            spec: rows for spec, rows in self._rows.items() if rows.can_continue(self._samples)
        }
        for rows in self._rows.values():
            rows.discard_before(sample)
        self._levels.discard_before(sample // BLOCK_SAMPLES)

    @property
    def _source_rate_hz(self) -> int:
        return self._decoder.sample_rate_hz or SAMPLE_RATE_HZ

    def _check_room(self) -> None:
        if self._finished:
            raise ValueError("the stream is finished; a new turn needs a new one")
        if self._samples.end - max(0, self._samples.first) > self._max_buffered_samples:
            seconds = self._max_buffered_samples / SAMPLE_RATE_HZ
            raise LipSyncError(
                LipSyncErrorCode.BUFFER_OVERFLOW,
                f"more than {seconds:g} s of audio wait to be used",
            )

    def _push_source(self, samples: Samples) -> None:
        if self._resampler is None:
            self._resampler = make_resampler(self._source_rate_hz)
        self._source_samples += len(samples)
        self._push_16k(self._resampler.push(samples))

    def _push_16k(self, samples: Samples) -> None:
        self._levels.push(samples)
        self._samples.append(samples[:, None])
