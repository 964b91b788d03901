"""Log-mel spectrogram of a whole signal; the streaming form equals it frame by frame."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import MelSpec, Samples

__all__ = [
    "SAMPLE_RATE_HZ",
    "MelSpec",
    "analysis_window",
    "filter_bank",
    "log_mel",
    "log_mel_frames",
    "signal_windows",
]

SAMPLE_RATE_HZ = 16_000

Number = TypeVar("Number", bound=np.floating[Any])


@lru_cache(maxsize=8)
def filter_bank(spec: MelSpec) -> NDArray[np.float32]:
    """Slaney-style mel filter bank `[n_mels, n_fft // 2 + 1]` with area normalisation.

    Equal to `librosa.filters.mel(htk=False, norm="slaney")` (Slaney, Auditory Toolbox, 1998).
    """
    frequencies = np.linspace(0.0, SAMPLE_RATE_HZ / 2, spec.n_fft // 2 + 1)
    edges = _mel_to_hz(
        np.linspace(_hz_to_mel(spec.fmin_hz), _hz_to_mel(spec.fmax_hz), spec.n_mels + 2)
    )
    rising = (frequencies[None, :] - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies[None, :]) / np.diff(edges)[1:, None]
    weights = (
        np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    )
    bank: NDArray[np.float32] = weights.astype(np.float32)
    return bank


@lru_cache(maxsize=8)
def analysis_window(spec: MelSpec) -> NDArray[np.float32]:
    """Periodic Hann window `[win_length]`."""
    phase = 2.0 * np.pi * np.arange(spec.win_length) / spec.win_length
    window: NDArray[np.float32] = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
    return window


def signal_windows(signal: NDArray[Number], spec: MelSpec) -> NDArray[Number]:
    """Views `[frames, win_length]` of a signal, `hop_length` samples apart.

    Frame 0 begins at its first sample.
    """
    return np.lib.stride_tricks.sliding_window_view(signal, spec.win_length)[:: spec.hop_length]


def log_mel_frames(windows: NDArray[np.float32], spec: MelSpec) -> NDArray[np.float32]:
    """Log-mel of windows `[frames, win_length]` of samples, as `[frames, n_mels]`."""
    spectrum = np.fft.rfft(windows * analysis_window(spec), n=spec.n_fft, axis=-1)
    power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    mel: NDArray[np.float32] = power @ filter_bank(spec).T
    return np.log(np.maximum(mel, spec.log_floor, out=mel), out=mel)


def log_mel(samples: Samples, spec: MelSpec) -> NDArray[np.float32]:
    """Log-mel `[frames, n_mels]` of a whole signal; frame i is centred on sample `i * hop_length`.

    There are `1 + n // hop_length` frames; samples outside the signal count as zero, as in
    librosa's `center=True, pad_mode="constant"`.
    """
    half = spec.win_length // 2
    padded = np.pad(samples, (half, half))
    return log_mel_frames(
        np.ascontiguousarray(signal_windows(padded, spec), dtype=np.float32), spec
    )


def _hz_to_mel(hz: float) -> float:
    return (
        hz / (200.0 / 3.0)
        if hz < 1000.0
        else 15.0 + float(np.log(hz / 1000.0)) / (np.log(6.4) / 27.0)
    )


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(
        mel < 15.0, mel * (200.0 / 3.0), 1000.0 * np.exp((mel - 15.0) * (np.log(6.4) / 27.0))
    )
