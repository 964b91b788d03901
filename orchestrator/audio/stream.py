"""One turn's audio: decoded, resampled, counted and turned into log-mel frames, the same for any chunking."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.decode import MAX_CHUNK_S, AudioDecoder
from orchestrator.audio.history import RowHistory
from orchestrator.audio.mel import SAMPLE_RATE_HZ, MelSpec, log_mel_frames
from orchestrator.audio.resample import Resampler, make_resampler, resampled_length
from orchestrator.audio.silence import BLOCK_SAMPLES, LevelHistory
from orchestrator.errors import LipSyncError, LipSyncErrorCode
from orchestrator.types import AudioChunk, Samples

MAX_BUFFERED_S = 120.0
"""Audio a stream holds that nobody has discarded; 120 s of 80 bands are 4 MB."""


class AudioStream:
    """Audio in, log-mel frames out; the sample count is the turn's media clock.

    Mel frame i is centred on sample `i * hop_length` at 16 kHz, as in `log_mel`. Memory is bounded: what lies before
    `discard_before` is let go, and a stream that nobody reads refuses more than `max_buffered_s`.
    """

    def __init__(self, spec: MelSpec, *, max_chunk_s: float = MAX_CHUNK_S, max_buffered_s: float = MAX_BUFFERED_S) -> None:
        self._spec = spec
        self._max_buffered_samples = round(max_buffered_s * SAMPLE_RATE_HZ)
        self._decoder = AudioDecoder(max_chunk_s)
        self._resampler: Resampler | None = None
        self._source_samples = 0
        self._leading_silence = 0
        self._finished = False
        self._levels = LevelHistory()
        # The first frame that sees the signal at all is centred before it.
        self._first_frame = -((spec.win_length // 2 - 1) // spec.hop_length)
        self._mel = RowHistory(spec.n_mels, self._first_frame)
        # Samples from the next frame's window on; before the turn lies silence.
        self._pending: Samples = np.zeros(spec.win_length // 2 - self._first_frame * spec.hop_length, np.float32)

    @property
    def samples_received(self) -> int:
        """The media clock: samples of this turn at 16 kHz, those still inside the resampler included."""
        return self._leading_silence + resampled_length(self._source_samples, self._source_rate_hz)

    @property
    def duration_s(self) -> float:
        """The media clock in seconds."""
        return self.samples_received / SAMPLE_RATE_HZ

    @property
    def mel_frames_ready(self) -> int:
        """Frames below this number can be asked for; without end once finished."""
        return sys.maxsize if self._finished else max(0, self._mel.end)

    def push(self, chunk: AudioChunk) -> None:
        """Takes the next chunk. Raises `LipSyncError` naming the wire field; the stream then stands as before the chunk."""
        self._check_room()
        self._push_source(self._decoder.decode(chunk))

    def push_silence(self, duration_ms: float) -> None:
        """Stands in for audio that was lost, so that the media clock stays right."""
        self._check_room()
        if not 0.0 <= duration_ms <= 1000.0 * MAX_BUFFERED_S:
            raise ValueError(f"silence of {duration_ms} ms is not between 0 and {MAX_BUFFERED_S:g} s")
        silence = np.zeros(round(duration_ms * self._source_rate_hz / 1000.0), np.float32)
        if self._decoder.sample_rate_hz is None:
            self._leading_silence += len(silence)
            self._push_16k(silence)
        else:
            self._push_source(silence)

    def finish(self) -> None:
        """The utterance has ended: what comes after counts as silence, and every frame can be asked for."""
        if self._finished:
            return
        self._finished = True
        if self._resampler is not None:
            self._push_16k(self._resampler.flush())
        # Up to the last frame that still sees a sample of the turn.
        self._push_16k(np.zeros(self._spec.win_length, np.float32))

    def mel_window(self, last_frame: int, frames: int) -> NDArray[np.float32]:
        """Log-mel `[frames, n_mels]` of frames `last_frame - frames + 1 .. last_frame`, oldest first; valid until the next push.

        Frames that see no sample of the turn hold the logarithm's floor. Raises `ValueError` for frames not ready or let go.
        """
        begin, end = last_frame - frames + 1, last_frame + 1
        if end > self.mel_frames_ready:
            raise ValueError(f"mel frame {last_frame} is not ready; {self._mel.end} are")
        if begin < self._mel.first and self._mel.first > self._first_frame:
            raise ValueError(f"mel frame {begin} was let go; {self._mel.first} is the oldest kept")
        if self._mel.first <= begin and end <= self._mel.end:
            return self._mel.rows(begin, end)
        window = np.full((frames, self._spec.n_mels), np.log(self._spec.log_floor), np.float32)
        kept_begin, kept_end = max(begin, self._mel.first), min(end, self._mel.end)
        if kept_begin < kept_end:
            window[kept_begin - begin : kept_end - begin] = self._mel.rows(kept_begin, kept_end)
        return window

    def is_silent(self, start_s: float, end_s: float) -> bool:
        """Whether the span, in seconds of the turn, holds nothing that could be speech."""
        return self._levels.is_silent(start_s, end_s)

    def discard_before(self, frame: int) -> None:
        """Lets go of mel frames below `frame`, and of the audio levels that no later question needs."""
        self._mel.discard_before(frame)
        self._levels.discard_before(frame * self._spec.hop_length // BLOCK_SAMPLES)

    @property
    def _source_rate_hz(self) -> int:
        return self._decoder.sample_rate_hz or SAMPLE_RATE_HZ

    def _check_room(self) -> None:
        if self._finished:
            raise ValueError("the stream is finished; a new turn needs a new one")
        if (self._mel.end - self._mel.first) * self._spec.hop_length > self._max_buffered_samples:
            seconds = self._max_buffered_samples / SAMPLE_RATE_HZ
            raise LipSyncError(LipSyncErrorCode.BUFFER_OVERFLOW, f"more than {seconds:g} s of audio wait to be used")

    def _push_source(self, samples: Samples) -> None:
        if self._resampler is None:
            self._resampler = make_resampler(self._source_rate_hz)
        self._source_samples += len(samples)
        self._push_16k(self._resampler.push(samples))

    def _push_16k(self, samples: Samples) -> None:
        self._levels.push(samples)
        self._pending = np.concatenate((self._pending, samples))
        if len(self._pending) < self._spec.win_length:
            return
        windows = np.lib.stride_tricks.sliding_window_view(self._pending, self._spec.win_length)[:: self._spec.hop_length]
        self._mel.append(log_mel_frames(windows, self._spec))
        self._pending = self._pending[len(windows) * self._spec.hop_length :]
