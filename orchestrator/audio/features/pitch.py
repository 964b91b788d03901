"""Pitch of a voice, frame by frame, by YIN."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.spectra import fast_length
from orchestrator.core.types import Samples

MIN_HZ: Final = 60.0
MAX_HZ: Final = 500.0
WINDOW_SAMPLES: Final = 512
"""Samples that are compared with those a period later: about two periods of the lowest pitch."""

MAX_APERIODICITY: Final = 0.15
"""Aperiodicity under which a period counts; de Cheveigné and Kawahara give 0.1 to 0.15."""

_SHORTEST, _LONGEST = int(SAMPLE_RATE_HZ / MAX_HZ), int(SAMPLE_RATE_HZ / MIN_HZ)
_SPAN: Final = WINDOW_SAMPLES + _LONGEST + 1
_TRANSFORM_SAMPLES: Final = fast_length(_SPAN + WINDOW_SAMPLES)
_MIN_VOICED_POWER: Final = 1e-7
"""Mean power below which no frame counts as voiced: -70 dB of full scale."""


def pitch_hz(samples: Samples, hop_length: int) -> NDArray[np.float32]:
    """Pitch `[1 + n // hop_length]` in Hz at every `hop_length` samples, 0 where unvoiced.

    Source: A. de Cheveigné, H. Kawahara, "YIN, a fundamental frequency estimator for speech and
    music", 2002, steps 2 to 5.
    """
    before = _SPAN // 2
    padded = np.pad(samples.astype(np.float64), (before, _SPAN))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _SPAN)[
        : len(samples) + 1 : hop_length
    ]
    aperiodicity = _aperiodicity(frames)
    dips = (aperiodicity[:, 1:-1] < MAX_APERIODICITY) & (
        aperiodicity[:, 1:-1] <= aperiodicity[:, 2:]
    )
    dips[:, : _SHORTEST - 1] = False
    found = dips.any(axis=1) & (np.square(frames).mean(axis=1) > _MIN_VOICED_POWER)
    period = _vertex(aperiodicity, dips.argmax(axis=1) + 1)
    pitch: NDArray[np.float32] = np.where(found, SAMPLE_RATE_HZ / period, 0.0).astype(np.float32)
    return pitch


def _aperiodicity(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """YIN's cumulative mean normalised difference `[n, lags]`, lag 0 first."""
    size = _TRANSFORM_SAMPLES
    head = np.fft.rfft(frames[:, :WINDOW_SAMPLES], n=size, axis=1)
    shared = np.fft.irfft(np.fft.rfft(frames, n=size, axis=1) * head.conj(), n=size, axis=1)[
        :, : _LONGEST + 1
    ]
    energy = np.pad(np.cumsum(np.square(frames), axis=1), ((0, 0), (1, 0)))
    shifted = energy[:, WINDOW_SAMPLES : WINDOW_SAMPLES + _LONGEST + 1] - energy[:, : _LONGEST + 1]
    difference = np.maximum(0.0, shifted[:, :1] + shifted - 2.0 * shared)
    mean = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, _LONGEST + 1)
    normalised: NDArray[np.float64] = np.ones((len(frames), _LONGEST + 1))
    np.divide(difference[:, 1:], mean, out=normalised[:, 1:], where=mean > 0.0)
    return normalised


def _vertex(curve: NDArray[np.float64], lag: NDArray[np.int64]) -> NDArray[np.float64]:
    """The lag of the parabola's lowest point through each lag and its neighbours."""
    rows = np.arange(len(curve))
    left, middle, right = curve[rows, lag - 1], curve[rows, lag], curve[rows, lag + 1]
    bend = left - 2.0 * middle + right
    shift = np.divide(left - right, 2.0 * bend, out=np.zeros_like(bend), where=bend > 0.0)
    moved: NDArray[np.float64] = np.asarray(lag + shift.clip(-1.0, 1.0), np.float64)
    return moved
