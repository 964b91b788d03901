"""Mel spectrogram of Wav2Lip and SadTalker: pre-emphasis, magnitudes, decibels in -4..4.

Source of the steps and constants: Rudrabha/Wav2Lip, `audio.py` and `hparams.py`, with librosa 0.7.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.features.log_mel import filter_bank, signal_windows
from orchestrator.core.types import MelSpec, Samples

PRE_EMPHASIS: Final = 0.97
MAGNITUDE_FLOOR: Final = 1e-5
REFERENCE_DB: Final = 20.0
RANGE_DB: Final = 100.0
LIMIT: Final = 4.0
"""Bound of the values: -LIMIT..LIMIT; digital silence is -LIMIT."""


def decibel_mel(samples: Samples, spec: MelSpec) -> NDArray[np.float32]:
    """Frames `[1 + n // hop_length, n_mels]` of a whole signal.

    Frame i is centred on sample `i * hop_length`. The edges are mirrored. A signal too short to be
    mirrored is lengthened by silence.
    """
    half = spec.win_length // 2
    signal = emphasise(np.pad(samples, (0, max(0, half + 1 - len(samples)))))
    padded = np.pad(signal, half, mode="reflect")
    return decibel_mel_frames(signal_windows(padded, spec), spec)


def emphasise(samples: Samples) -> NDArray[np.float64]:
    """Pre-emphasis, `x[n] - 0.97 x[n - 1]`; silence comes before the first."""
    x = samples.astype(np.float64)
    return x - PRE_EMPHASIS * np.concatenate(([0.0], x[:-1]))


def decibel_mel_frames(windows: NDArray[np.float64], spec: MelSpec) -> NDArray[np.float32]:
    """Frames `[n, n_mels]` of pre-emphasised windows `[n, win_length]`."""
    magnitude = np.abs(np.fft.rfft(windows * _hann(spec.win_length), n=spec.n_fft, axis=-1))
    decibels = (
        20.0 * np.log10(np.maximum(MAGNITUDE_FLOOR, magnitude @ filter_bank(spec).T)) - REFERENCE_DB
    )
    scaled = 2.0 * LIMIT * (decibels + RANGE_DB) / RANGE_DB - LIMIT
    frames: NDArray[np.float32] = np.clip(scaled, -LIMIT, LIMIT).astype(np.float32)
    return frames


def _hann(length: int) -> NDArray[np.float64]:
    """Periodic Hann window in float64: in float32 its leakage would show beside pure tones."""
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / length)
    return window
