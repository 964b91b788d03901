"""The mel spectrogram of Wav2Lip and SadTalker: pre-emphasis, magnitudes, decibels scaled to -4..4; whole and streaming.

Source of the steps and constants: Rudrabha/Wav2Lip, `audio.py` and `hparams.py`, with librosa 0.7.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from orchestrator.audio.mel import filter_bank
from orchestrator.types import MelSpec, Samples

PRE_EMPHASIS: Final = 0.97
MAGNITUDE_FLOOR: Final = 1e-5
REFERENCE_DB: Final = 20.0
RANGE_DB: Final = 100.0
LIMIT: Final = 4.0
"""Values lie in -LIMIT..LIMIT; digital silence is -LIMIT."""


def decibel_mel(samples: Samples, spec: MelSpec) -> NDArray[np.float32]:
    """Frames `[1 + n // hop_length, n_mels]` of a whole signal; frame i is centred on sample `i * hop_length`.

    The edges are mirrored. A signal too short to be mirrored is lengthened by silence.
    """
    half = spec.win_length // 2
    signal = emphasise(np.pad(samples, (0, max(0, half + 1 - len(samples)))), 0.0)
    padded = np.pad(signal, half, mode="reflect")
    return decibel_mel_frames(_windows(padded, spec), spec)


def emphasise(samples: Samples, before: float) -> NDArray[np.float64]:
    """`x[n] - 0.97 x[n - 1]`; `before` is the sample before the first."""
    x = samples.astype(np.float64)
    return x - PRE_EMPHASIS * np.concatenate(([before], x[:-1]))


def decibel_mel_frames(windows: NDArray[np.float64], spec: MelSpec) -> NDArray[np.float32]:
    """Frames `[n, n_mels]` of pre-emphasised windows `[n, win_length]`."""
    magnitude = np.abs(scipy.fft.rfft(windows * _hann(spec.win_length), n=spec.n_fft, axis=-1))
    decibels = 20.0 * np.log10(np.maximum(MAGNITUDE_FLOOR, magnitude @ filter_bank(spec).T)) - REFERENCE_DB
    scaled = 2.0 * LIMIT * (decibels + RANGE_DB) / RANGE_DB - LIMIT
    frames: NDArray[np.float32] = np.clip(scaled, -LIMIT, LIMIT).astype(np.float32)
    return frames


class DecibelMelStream:
    """The same frames from pieces of any length; memory is one analysis window."""

    def __init__(self, spec: MelSpec) -> None:
        self._spec = spec
        self._half = spec.win_length // 2
        self._last_sample = 0.0
        self._started = False
        self._pending: NDArray[np.float64] = np.zeros(0)

    def push(self, samples: Samples) -> NDArray[np.float32]:
        """The frames `[n, n_mels]` that these samples complete; a frame needs half a window past its centre."""
        if not len(samples):
            return np.zeros((0, self._spec.n_mels), np.float32)
        self._pending = np.concatenate((self._pending, emphasise(samples, self._last_sample)))
        self._last_sample = float(samples[-1])
        if not self._started:
            if len(self._pending) <= self._half:
                return np.zeros((0, self._spec.n_mels), np.float32)
            self._pending = np.pad(self._pending, (self._half, 0), mode="reflect")
            self._started = True
        return self._take()

    def finish(self) -> NDArray[np.float32]:
        """The last frames, for which the end is mirrored; all together are `decibel_mel` of the whole signal."""
        missing = 0 if self._started else self._half + 1 - len(self._pending)
        first = self.push(np.zeros(missing, np.float32))
        self._pending = np.pad(self._pending, (0, self._half), mode="reflect")
        return np.concatenate((first, self._take()))

    def _take(self) -> NDArray[np.float32]:
        if len(self._pending) < self._spec.win_length:
            return np.zeros((0, self._spec.n_mels), np.float32)
        windows = _windows(self._pending, self._spec)
        # What is left also serves as the mirror of the end: it always holds more than half a window.
        self._pending = self._pending[len(windows) * self._spec.hop_length :]
        return decibel_mel_frames(windows, self._spec)


def _hann(length: int) -> NDArray[np.float64]:
    """Periodic, in float64: rounded to float32 its leakage would show beside pure tones."""
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / length)
    return window


def _windows(signal: NDArray[np.float64], spec: MelSpec) -> NDArray[np.float64]:
    return np.lib.stride_tricks.sliding_window_view(signal, spec.win_length)[:: spec.hop_length]
