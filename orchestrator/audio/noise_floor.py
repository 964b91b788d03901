"""Steady noise of a recording, measured in the gaps of the sound in time and frequency.

The lowest powers of a spectrum over time are the noise alone: in the pauses of speech, and between
the harmonics while it is voiced. Minimum statistics (R. Martin, IEEE Trans. Speech and Audio
Processing 9(5), 2001) and quantiles of the spectrum (V. Stahl et al., ICASSP 2000) rest on the same
idea and follow one bin over seconds.

Here the bins of a band are taken together, so that 100 ms and tones without a pause have gaps too.
A fixed quantile reads too much where sound fills more than its share. Instead an exponential law
(the power of Gaussian noise in one bin) is fitted to the values below a multiple of its own mean.
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

WINDOW_SAMPLES: Final = (512, 1024)
"""Window lengths in samples.

32 ms is short enough for the gaps between sounds, 64 ms long enough for those between the harmonics
of a deep voice.
"""

HOP_SAMPLES: Final = 128
BAND_EDGES_HZ: Final = (
    *(0, 90, 200, 320, 500, 720, 1000, 1350),
    *(1800, 2400, 3100, 4000, 5200, 6500, 8001),
)
"""Edges of the bands: narrow where the noise of rooms is steep; a band holds 3 bins or more."""

MAX_NOISE_MEANS: Final = 2.0
"""Means of Gaussian noise up to which powers are used; those above are the sound's."""

MAX_BABBLE_MEANS: Final = 8.0
"""The same for noise that fluctuates, like many voices.

It counts only where the quietest moments are as loud.
"""

CONFIRMED_DB: Final = 4.0
REFUTED_DB: Final = 8.0
"""Distance of the quietest tenth of the frames above fluctuating noise.

Up to the first value it counts as noise, from the second on as sound.
"""

MIN_CONFIRMING_SAMPLES: Final = SAMPLE_RATE_HZ
"""Least samples for which the quietest tenth is meaningful."""

MIN_RECORDED_POWER: Final = 1e-10
"""Power below which a span counts as padding or a closed gate: -100 dB of full scale."""

MIN_SAMPLES: Final = SAMPLE_RATE_HZ // 100
"""Least samples for which bands exist."""

_MIN_POWER: Final = 1e-16
_ITERATIONS: Final = 10


def noise_power(samples: Samples) -> float:
    """Mean square of the steady noise in 16 kHz samples, full scale 1.

    0 for padding only, or for less than 10 ms. docs/audio.md has the measured errors.

    The limits: a hiss that lasts as long as the input is noise, as a fricative that fills a chunk
    of 100 ms. A voice fills its own gaps to some 15 to 25 dB below it within 100 ms, and to 30 dB
    and more in an utterance, so that less noise is not seen there. Many voices at once are noise
    only from a second on.
    """
    spectra = (
        [powers for powers in (_powers(samples, size) for size in WINDOW_SAMPLES) if len(powers)]
        if len(samples) >= MIN_SAMPLES
        else []
    )
    if not spectra:
        return 0.0
    steady = np.min(
        [_floors(powers, MAX_NOISE_MEANS, share=0.5) for powers in spectra], axis=0
    ).sum()
    if len(samples) < MIN_CONFIRMING_SAMPLES:
        return float(steady)
    babble = max(steady, _floors(spectra[-1], MAX_BABBLE_MEANS, share=0.25).sum())
    quietest = float(np.quantile(spectra[-1].sum(axis=1), 0.1))
    weight = np.clip(
        (REFUTED_DB - 10.0 * np.log10(quietest / babble)) / (REFUTED_DB - CONFIRMED_DB), 0.0, 1.0
    )
    return float(steady ** (1.0 - weight) * babble**weight)


def _powers(samples: Samples, size: int) -> Powers:
    """Power spectra, without direct current and without frames below `MIN_RECORDED_POWER`."""
    size = min(size, len(samples))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::HOP_SAMPLES].astype(
        np.float64
    )
    window = np.hanning(size + 1)[:size]
    spectrum = np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, axis=1)[:, 1:]
    powers = 2.0 / size / np.square(window).sum() * np.square(np.abs(spectrum))
    return np.asarray(powers[powers.sum(axis=1) > MIN_RECORDED_POWER])


def _floors(powers: Powers, max_means: float, share: float) -> Floors:
    """Noise power in each band, from the `share` of the frames that are quietest in it."""
    frames, bins = powers.shape
    edges = np.searchsorted(np.arange(1, bins + 1) * (SAMPLE_RATE_HZ / 2 / bins), BAND_EDGES_HZ)
    kept = min(frames, max(3, int(np.ceil(share * frames))))
    floors = []
    for low, high in pairwise(edges):
        band = powers[:, low:high]
        quiet = band[np.argpartition(band.sum(axis=1), kept - 1)[:kept]]
        floors.append(
            (high - low) * _exponential_mean(quiet.ravel(), max_means) if high > low else 0.0
        )
    return np.asarray(floors)


def _exponential_mean(powers: Floors, max_means: float) -> float:
    """Mean of an exponential law with outliers above.

    The law whose part below `max_means` means has the mean of the values there. The search starts
    from the geometric mean, which a few outliers move little; lower solutions are the gaps within a
    babble.
    """
    values = np.maximum(np.sort(powers), _MIN_POWER)
    sums = np.cumsum(values)
    cut = 1.0 - max_means * np.exp(-max_means) / (1.0 - np.exp(-max_means))
    mean = np.exp(np.log(values).mean() + np.euler_gamma)
    for _ in range(_ITERATIONS):
        within = int(np.searchsorted(values, max_means * mean))
        below = min(len(values), max(4, within))
        mean = sums[below - 1] / below / cut
    return float(mean)
