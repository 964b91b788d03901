"""Audio features of Audio2Head: 41 numbers every 10 ms.

Computed as `python_speech_features` 0.6 and WORLD's harvest gave them in training. A row is [13
MFCCs, 26 log filter bank energies, pitch in Hz, voiced flag]; four rows make one video frame (25
per second).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.spectra import cosine_basis
from orchestrator.models.audio2head.harvest_pitch import harvest

SAMPLE_RATE_HZ: Final = 16_000
FRAME_SAMPLES: Final = 400
HOP_SAMPLES: Final = 160
FFT_SAMPLES: Final = 512
FILTERS: Final = 26
CEPSTRA: Final = 13
LIFTER: Final = 22
PRE_EMPHASIS: Final = 0.97
ROW_VALUES: Final = CEPSTRA + FILTERS + 2
ROWS_PER_FRAME: Final = 4

_EPSILON: Final = float(np.finfo(np.float64).eps)
"""Replaces an energy of zero before the logarithm."""


def audio_features(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Rows `[rows, 41]` of a whole utterance at 16 kHz."""
    signal = normalised(samples)
    return feature_rows(signal, harvest(signal))


def normalised(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """The utterance without its mean, its largest absolute value 1; silence stays zero."""
    centred: NDArray[np.float64] = samples - samples.mean(dtype=np.float64)
    return centred / (np.abs(centred).max(initial=0.0) or 1.0)


def feature_rows(signal: NDArray[np.float64], pitch_hz: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows `[rows, 41]` of a normalised signal and its pitch.

    `pitch_hz` `[n]` is given every 10 ms, zero where unvoiced; the shorter of the two counts.
    """
    cepstra, filters = cepstra_and_filters(signal)
    rows = min(len(cepstra), len(pitch_hz))
    columns = [
        cepstra[:rows],
        filters[:rows],
        filled(pitch_hz)[:rows, None],
        (pitch_hz > 0)[:rows, None],
    ]
    features: NDArray[np.float32] = np.concatenate(columns, axis=1).astype(np.float32)
    return features


def frame_blocks(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows `[rows, 41]` as one block per video frame, `[rows // 4, 4, 41]`."""
    frames = len(rows) // ROWS_PER_FRAME
    return rows[: frames * ROWS_PER_FRAME].reshape(frames, ROWS_PER_FRAME, ROW_VALUES)


def filled(pitch_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pitch `[n]` with unvoiced stretches bridged linearly, and its ends held.

    Zero if nothing is voiced.
    """
    voiced = np.flatnonzero(pitch_hz > 0)
    if not len(voiced):
        return np.zeros(len(pitch_hz))
    bridged: NDArray[np.float64] = np.interp(np.arange(len(pitch_hz)), voiced, pitch_hz[voiced])
    return bridged


def cepstra_and_filters(
    signal: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Liftered MFCCs `[frames, 13]` and log filter bank energies `[frames, 26]`.

    The first MFCC is replaced by log power.
    """
    emphasised = np.concatenate([signal[:1], signal[1:] - PRE_EMPHASIS * signal[:-1]])
    frames = 1 + max(0, -(-(len(signal) - FRAME_SAMPLES) // HOP_SAMPLES))
    padded = np.zeros((frames - 1) * HOP_SAMPLES + FRAME_SAMPLES)
    padded[: len(emphasised)] = emphasised
    windows = np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES)[::HOP_SAMPLES]
    power = np.abs(np.fft.rfft(windows, FFT_SAMPLES, axis=1)) ** 2 / FFT_SAMPLES
    filters = _log(power @ _filter_bank().T)
    cepstra = filters @ cosine_basis(FILTERS, CEPSTRA)
    cepstra *= 1.0 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER)
    cepstra[:, 0] = _log(power.sum(axis=1))
    return cepstra, filters


@lru_cache(maxsize=1)
def _filter_bank() -> NDArray[np.float64]:
    """`[26, 257]` triangles between whole FFT bins, evenly spaced in mel from 0 to 8 kHz."""
    highest_mel = 2595.0 * np.log10(1.0 + SAMPLE_RATE_HZ / 2 / 700.0)
    edges_hz = 700.0 * (10.0 ** (np.linspace(0.0, highest_mel, FILTERS + 2) / 2595.0) - 1.0)
    edges = np.floor((FFT_SAMPLES + 1) * edges_hz / SAMPLE_RATE_HZ)[:, None]
    bins = np.arange(FFT_SAMPLES // 2 + 1)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bank: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return bank


def _log(energy: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithm: NDArray[np.float64] = np.log(np.where(energy == 0.0, _EPSILON, energy))
    return logarithm
