"""Features of a stretch of audio: mel spectrogram, MFCCs, energy and pitch every 10 ms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ, log_mel
from orchestrator.audio.features.pitch import pitch_hz
from orchestrator.core.spectra import cosine_basis
from orchestrator.core.types import MelSpec, Samples

MFCC_COUNT: Final = 13

TOP_DB: Final = 80.0
"""Range below the loudest band of the stretch that MFCCs use, as librosa's `power_to_db`."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioFeatures:
    """Features of one stretch; frame i is centred on sample `i * hop_length` at 16 kHz."""

    mel_spectrogram: NDArray[np.float32]
    """Natural logarithm of power, `[frames, n_mels]`."""
    mfcc: NDArray[np.float32]
    """`[frames, 13]`."""
    energy: NDArray[np.float32]
    """Root mean square, full scale 1.0, `[frames]`."""
    pitch_hz: NDArray[np.float32]
    """`[frames]`; 0 where unvoiced."""
    timestamp_ms: float
    """The client's clock at the first sample."""
    duration_ms: float
    sample_rate_hz: int = SAMPLE_RATE_HZ

    @property
    def nbytes(self) -> int:
        """All arrays."""
        return (
            self.mel_spectrogram.nbytes
            + self.mfcc.nbytes
            + self.energy.nbytes
            + self.pitch_hz.nbytes
        )


def audio_features(samples: Samples, timestamp_ms: float, spec: MelSpec) -> AudioFeatures:
    """Features of 16 kHz samples on their own, with silence around them."""
    mel = log_mel(samples, spec)
    return AudioFeatures(
        mel_spectrogram=mel,
        mfcc=mfcc(mel),
        energy=_energy(samples, spec),
        pitch_hz=pitch_hz(samples, spec.hop_length),
        timestamp_ms=timestamp_ms,
        duration_ms=1000.0 * len(samples) / SAMPLE_RATE_HZ,
    )


def mfcc(mel: NDArray[np.float32], count: int = MFCC_COUNT) -> NDArray[np.float32]:
    """Mel-frequency cepstral coefficients `[frames, count]` of natural-log mel power.

    Orthonormal DCT-II of decibels, as librosa's.
    """
    decibels = mel * np.float32(10.0 / np.log(10.0))
    decibels = np.maximum(decibels, decibels.max(initial=-np.inf) - np.float32(TOP_DB))
    coefficients: NDArray[np.float32] = (decibels @ cosine_basis(decibels.shape[-1], count)).astype(
        np.float32
    )
    return coefficients


def _energy(samples: Samples, spec: MelSpec) -> NDArray[np.float32]:
    half = spec.win_length // 2
    power = np.square(np.pad(samples, (half, half)), dtype=np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(power, spec.win_length)[:: spec.hop_length]
    energy: NDArray[np.float32] = np.sqrt(windows.mean(axis=1)).astype(np.float32)
    return energy
