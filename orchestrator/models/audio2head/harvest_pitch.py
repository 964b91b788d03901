"""Pitch by WORLD's harvest, on which Audio2Head was trained, every 10 ms from 71 to 800 Hz.

Source: M. Morise, Interspeech 2017. Band-pass filters a fortieth of an octave apart each estimate a
pitch from the zero crossings of their output. Where neighbours agree there is a candidate, which is
refined on the spectrum. `harvest_contour` then joins candidates into a contour.

The constants are those of the reference implementation, and so are its rounding and its one-sample
shifts: they are audible in the result.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.spectra import fast_length
from orchestrator.models.audio2head.filters import nuttall_window, zero_phase_kernel
from orchestrator.models.audio2head.harvest_contour import (
    Candidates,
    best_contour,
    smoothed,
    without_strays,
)

SAMPLE_RATE_HZ: Final = 16_000
RATE_HZ: Final = 8_000
"""Sample rate of the pitch search, half of the input's."""
DECIMATION: Final = SAMPLE_RATE_HZ // RATE_HZ
PERIOD_S: Final = 0.010
STEP_S: Final = 0.001
"""Step of the pitch search; every tenth value is taken."""
FLOOR_HZ: Final = 71.0
CEILING_HZ: Final = 800.0
BANDS_PER_OCTAVE: Final = 40
BAND_AGREEMENT: Final = 0.1
"""Largest relative distance of a band's pitch from its centre for the band to count."""
MIN_BANDS: Final = 10
"""Neighbouring bands that must agree on a candidate."""
OVERLAP_STEPS: Final = 3
"""Steps before and after its own at which a candidate is tried as well."""
HARMONICS: Final = 6
MIN_SCORE: Final = 2.5
MAX_REFINED_CANDIDATES: Final = 512
"""Candidates refined at once; bounds the memory (some 20 MB) for any length of audio."""
LOW_PASS: Final = (
    (0.16797464681802227, 0.50392394045406674, 0.50392394045406674, 0.16797464681802227),
    (1.0, -0.041156734567757189, 0.42599112459189636, -0.041037215479961225),
)
"""Chebyshev filter (b, a) of the first kind.

Third order, 0.05 dB of ripple, up to 0.8 of the halved band.
"""
LOW_PASS_TAPS: Final = 96
"""Length of its impulse response, which has fallen by 1e-17 there."""

Array = NDArray[np.float64]


def harvest(signal: Array) -> Array:
    """Pitch in Hz every 10 ms of a signal at 16 kHz, `[1 + n // 160]`, zero where unvoiced.

    Value i is at i * 10 ms.
    """
    frames = int(len(signal) / SAMPLE_RATE_HZ / PERIOD_S) + 1
    if not signal.any():
        return np.zeros(frames)
    halved = _halved(signal)
    steps = int(len(signal) / SAMPLE_RATE_HZ / STEP_S) + 1
    times_s = np.arange(steps, dtype=np.float64) * STEP_S
    rough = _overlapped(_agreed(_band_pitches(halved, times_s)))
    contour = smoothed(best_contour(without_strays(_refined(halved, rough, times_s))))
    chosen = np.minimum(
        steps - 1, _rounded(np.arange(frames, dtype=np.float64) * PERIOD_S * 1000.0)
    )
    pitch_hz: Array = contour[chosen]
    return pitch_hz


def _halved(signal: Array) -> Array:
    """The signal at 8 kHz without its mean.

    Low-passed forward and backward, every second sample from index 1.
    """
    margin, reflected = 140, 9
    held = np.pad(signal, margin, mode="edge")
    extended = np.pad(held, reflected, mode="reflect", reflect_type="odd")
    low = np.convolve(extended, zero_phase_kernel(*LOW_PASS, LOW_PASS_TAPS), mode="same")
    outputs = (len(held) - 1) // DECIMATION + 1
    first = DECIMATION - DECIMATION * outputs + len(held) + reflected - 1
    halved = low[first::DECIMATION][margin // DECIMATION :][: -(-len(signal) // DECIMATION)]
    centred: Array = halved - halved.mean()
    return centred


def _band_pitches(signal: Array, times_s: Array) -> Array:
    """`[bands, steps]`: pitch by each band's zero crossings, zero where far from the band."""
    lowest, highest = FLOOR_HZ * 0.9, CEILING_HZ * 1.1
    bands = 1 + int(np.log2(highest / lowest) * BANDS_PER_OCTAVE)
    centres_hz = lowest * 2.0 ** (np.arange(1, bands + 1) / BANDS_PER_OCTAVE)
    size = fast_length(len(signal) + 5 + 2 * int(2.0 * RATE_HZ / centres_hz[0]) + 1)
    spectrum = np.fft.rfft(signal, size)
    return np.stack(
        [
            _band_pitch(_band(spectrum, size, len(signal), centre), centre, times_s)
            for centre in centres_hz
        ]
    )


def _band(spectrum: NDArray[np.complex128], size: int, samples: int, centre_hz: float) -> Array:
    """The signal filtered by a cosine of four periods under a Nuttall window.

    Delayed by half of it and one sample.
    """
    half = int(_rounded(RATE_HZ / centre_hz * 2.0))
    offsets = np.arange(-half, half + 1)
    kernel = nuttall_window(2 * half + 1) * np.cos(2 * np.pi * centre_hz * offsets / RATE_HZ)
    filtered: Array = np.fft.irfft(spectrum * np.fft.rfft(kernel, size), size)
    return filtered[half + 1 : half + 1 + samples]


def _band_pitch(filtered: Array, centre_hz: float, times_s: Array) -> Array:
    """Mean pitch of falling and rising zero crossings, peaks and dips at the times `[steps]`.

    Zero where it does not fit.
    """
    slope = -filtered[:-1] + filtered[1:]
    tracks = [_crossings(wave) for wave in (filtered, -filtered, slope, -slope)]
    if any(len(pitch_hz) <= 2 for _, pitch_hz in tracks):
        return np.zeros(len(times_s))
    pitch = np.mean(
        [_interpolated(places_s, pitch_hz, times_s) for places_s, pitch_hz in tracks], axis=0
    )
    near = np.abs(pitch - centre_hz) <= BAND_AGREEMENT * centre_hz
    return np.where(near & (pitch >= FLOOR_HZ) & (pitch <= CEILING_HZ), pitch, 0.0)


def _crossings(wave: Array) -> tuple[Array, Array]:
    """Middle (s) and inverse length (Hz) of the intervals between downward zero crossings.

    Samples count from 1.
    """
    before = np.flatnonzero((wave[:-1] > 0.0) & (wave[1:] <= 0.0))
    exact = before + 1 - wave[before] / (wave[before + 1] - wave[before])
    return (exact[:-1] + exact[1:]) / 2.0 / RATE_HZ, RATE_HZ / np.diff(exact)


def _interpolated(x: Array, y: Array, at: Array) -> Array:
    """Linear interpolation through the points, extrapolated at both ends."""
    right = np.clip(np.searchsorted(x, at, side="right"), 1, len(x) - 1)
    left = right - 1
    value: Array = y[left] + (at - x[left]) / (x[right] - x[left]) * (y[right] - y[left])
    return value


def _agreed(pitches: Array) -> Array:
    """`[steps, candidates]`: mean pitch where at least ten neighbouring bands have one.

    Unused places are zero.
    """
    has = pitches > 0
    has[[0, -1]] = False
    edges = np.diff(has.astype(np.int8), axis=0).T
    step, begin = np.nonzero(edges == 1)
    # a stretch's beginning and end are equally many in the order of steps
    end = np.nonzero(edges == -1)[1]
    wide = end - begin >= MIN_BANDS
    step, begin, end = step[wide], begin[wide] + 1, end[wide] + 1
    totals = np.concatenate([np.zeros((1, pitches.shape[1])), np.cumsum(pitches, axis=0)])
    found = np.bincount(step, minlength=pitches.shape[1])
    column = np.arange(len(step)) - np.repeat(np.cumsum(found) - found, found)
    agreed = np.zeros((pitches.shape[1], max(1, int(found.max(initial=0)))))
    agreed[step, column] = (totals[end, step] - totals[begin, step]) / (end - begin)
    return agreed


def _overlapped(pitches: Array) -> Array:
    """`[steps, 7 * candidates]`: candidates of the step, the three before and the three after."""
    shifts = [0, *range(1, OVERLAP_STEPS + 1), *range(-1, -OVERLAP_STEPS - 1, -1)]
    columns = [np.zeros_like(pitches) for _ in shifts]
    for column, shift in zip(columns, shifts, strict=True):
        steps = len(pitches) - abs(shift)
        column[max(shift, 0) :][:steps] = pitches[max(-shift, 0) :][:steps]
    return np.concatenate(columns, axis=1)


def _refined(signal: Array, rough: Array, times_s: Array) -> Candidates:
    """Candidates with scores; those out of range or with a low score are zero."""
    step, column = np.nonzero(rough)
    pitch, score = np.zeros_like(rough), np.zeros_like(rough)
    half = (1.5 * RATE_HZ / rough[step, column] + 1.0).astype(int)
    for length in np.unique(half):
        chosen = np.flatnonzero(half == length)
        for begin in range(0, len(chosen), MAX_REFINED_CANDIDATES):
            some = chosen[begin : begin + MAX_REFINED_CANDIDATES]
            at = (step[some], column[some])
            pitch[at], score[at] = _refine(signal, rough[at], times_s[at[0]], int(length))
    kept = (pitch >= FLOOR_HZ) & (pitch <= CEILING_HZ) & (score >= MIN_SCORE)
    return Candidates(np.where(kept, pitch, 0.0), np.where(kept, score, 0.0))


def _refine(signal: Array, pitch_hz: Array, times_s: Array, half: int) -> tuple[Array, Array]:
    """Pitch `[n]` refined from the first harmonics' instantaneous frequencies, and its score.

    Under a window of three periods.
    """
    width, size = 2 * half + 1, 2 ** (2 + int(np.log2(2 * half + 1)))
    index = _rounded((times_s - half / RATE_HZ) * RATE_HZ + 0.001)[:, None] + np.arange(width)
    cosine = np.cos(((index - 1.0) / RATE_HZ - times_s[:, None]) * (2 * np.pi * RATE_HZ / width))
    window = 0.34 + cosine * (0.5 + 0.16 * cosine)  # Blackman's
    slope = np.empty_like(window)
    slope[:, 1:-1] = (window[:, :-2] - window[:, 2:]) / 2.0
    slope[:, 0], slope[:, -1] = -window[:, 1] / 2.0, window[:, -2] / 2.0
    wave = signal[np.clip(index - 1, 0, len(signal) - 1)]
    multiples = np.arange(1, HARMONICS + 1)
    bins = np.minimum(_rounded(pitch_hz[:, None] * size / RATE_HZ * multiples), size // 2)
    main, moved = (
        np.take_along_axis(np.fft.rfft(wave * shape, size), bins, axis=1)
        for shape in (window, slope)
    )
    power = main.real**2 + main.imag**2
    rotation = main.real * moved.imag - main.imag * moved.real
    with np.errstate(divide="ignore", invalid="ignore"):
        instant_hz = np.where(
            power > 0, bins * RATE_HZ / size + rotation / power * RATE_HZ / 2 / np.pi, 0.0
        )
    used = multiples <= np.minimum((RATE_HZ / 2.0 / pitch_hz).astype(int), HARMONICS)[:, None]
    amplitude = np.where(used, np.sqrt(power), 0.0)
    refined = (amplitude * instant_hz).sum(axis=1) / ((amplitude * multiples).sum(axis=1) + 1e-12)
    off = np.where(used, np.abs(instant_hz / multiples / pitch_hz[:, None] - 1.0), 0.0)
    return refined, 1.0 / (off.sum(axis=1) / used.sum(axis=1) + 1e-12)


def _rounded(value: Array | float) -> NDArray[np.int64]:
    """Round to the nearest integer, halves away from zero."""
    nearest: NDArray[np.int64] = np.trunc(value + np.copysign(0.5, value)).astype(np.int64)
    return nearest
