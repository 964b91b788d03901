"""How much of a recording is steady noise, told without knowing the sound: in the gaps that sound
leaves in time and in frequency.

The lowest powers of a spectrum over time are the noise alone: in the pauses of speech, and between
the harmonics while it is voiced. That is the thought of minimum statistics (R. Martin, IEEE Trans.
Speech and Audio Processing 9(5), 2001) and of quantiles of the spectrum (V. Stahl et al., ICASSP
2000), which follow one bin over seconds. Here the bins of a band are looked at together, so that
100 ms and tones without a pause have gaps too. And instead of a fixed quantile, which reads too
much where sound fills more than its share, an exponential law (the power of Gaussian noise in one
bin) is fitted to what lies below a multiple of its own mean.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.types import Samples

Powers: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float64]]
"""Frames by bins; their sum is the frame's power."""

Floors: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]

WINDOWS: Final = (512, 1024)
"""32 ms is short enough for the gaps between sounds, 64 ms long enough for those between the
harmonics of a deep voice.
"""

HOP: Final = 128
BAND_EDGES_HZ: Final = (
    0,
    90,
    200,
    320,
    500,
    720,
    1000,
    1350,
    1800,
    2400,
    3100,
    4000,
    5200,
    6500,
    8001,
)
"""Narrow where noise of rooms is steep; a band holds 3 bins and more."""

NEAR: Final = 2.0
"""Of Gaussian noise as much of the distribution as is looked at: powers above this many means are
the sound's.
"""

WIDE: Final = 8.0
"""The same for noise that comes and goes, like many voices: only to be believed where the quietest
moments are as loud.
"""

CONFIRMED_DB: Final = 4.0
REFUTED_DB: Final = 8.0
"""How far the quietest tenth of the frames lies above such noise: up to the first it is believed,
from the second on it is the sound's.
"""

LEAST_CONFIRMING: Final = SAMPLE_RATE_HZ
"""Samples from which the quietest tenth means anything."""

GATED: Final = 1e-10
"""Power below which a span is no recording but padding or a closed gate: -100 dB of full scale."""

LEAST_SAMPLES: Final = SAMPLE_RATE_HZ // 100
"""Less has no bands."""

_LEAST_POWER: Final = 1e-16
_STEPS: Final = 10


def noise_power(samples: Samples) -> float:
    """Mean square of the steady noise in 16 kHz samples, full scale 1; 0 where nothing but padding
    is heard, or less than 10 ms.

    docs/audio.md has the errors that were measured. The limits: a hiss as long as what is heard is
    noise, as a fricative that fills a chunk of 100 ms; a voice fills its own gaps to some 15 to 25
    dB below it within 100 ms and to 30 dB and more in an utterance, so that less noise is not seen
    there; and many voices at once are noise only to a second and more.
    """
    heard = (
        [powers for powers in (_powers(samples, size) for size in WINDOWS) if len(powers)]
        if len(samples) >= LEAST_SAMPLES
        else []
    )
    if not heard:
        return 0.0
    near = np.min([_floors(powers, NEAR, share=0.5) for powers in heard], axis=0).sum()
    if len(samples) < LEAST_CONFIRMING:
        return float(near)
    wide = max(near, _floors(heard[-1], WIDE, share=0.25).sum())
    quietest = float(np.quantile(heard[-1].sum(axis=1), 0.1))
    weight = np.clip(
        (REFUTED_DB - 10.0 * np.log10(quietest / wide)) / (REFUTED_DB - CONFIRMED_DB), 0.0, 1.0
    )
    return float(near ** (1.0 - weight) * wide**weight)


def _powers(samples: Samples, size: int) -> Powers:
    """Without direct current and without the frames that hold no recording."""
    size = min(size, len(samples))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::HOP].astype(np.float64)
    window = np.hanning(size + 1)[:size]
    spectrum = np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, axis=1)[:, 1:]
    powers = 2.0 / size / np.square(window).sum() * np.square(np.abs(spectrum))
    return np.asarray(powers[powers.sum(axis=1) > GATED])


def _floors(powers: Powers, most: float, share: float) -> Floors:
    """Noise power in each band, from the `share` of the frames that are quietest in it."""
    frames, bins = powers.shape
    edges = np.searchsorted(np.arange(1, bins + 1) * (SAMPLE_RATE_HZ / 2 / bins), BAND_EDGES_HZ)
    kept = min(frames, max(3, int(np.ceil(share * frames))))
    floors = []
    for low, high in pairwise(edges):
        band = powers[:, low:high]
        quiet = band[np.argpartition(band.sum(axis=1), kept - 1)[:kept]]
        floors.append((high - low) * _exponential_mean(quiet.ravel(), most) if high > low else 0.0)
    return np.asarray(floors)


def _exponential_mean(powers: Floors, most: float) -> float:
    """Mean of an exponential law with outliers above: the one whose part below `most` means has the
    mean of the values there.

    Sought from the geometric mean, which a few outliers move little; lower solutions are the gaps
    within a babble.
    """
    values = np.maximum(np.sort(powers), _LEAST_POWER)
    sums = np.cumsum(values)
    cut = 1.0 - most * np.exp(-most) / (1.0 - np.exp(-most))
    mean = np.exp(np.log(values).mean() + np.euler_gamma)
    for _ in range(_STEPS):
        below = min(len(values), max(4, int(np.searchsorted(values, most * mean))))
        mean = sums[below - 1] / below / cut
    return float(mean)
