"""Idle motion of a face: blinks and a slight sway.

A pure function of time, so that any chunking gives the same frames.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLINK_SLOT_S = 4.0
"""One blink falls into each slot; drawn from its middle half, gaps are 2 to 6 seconds."""

BLINK_CLOSE_S = 0.075
BLINK_HOLD_S = 0.03
BLINK_OPEN_S = 0.135
"""Lids close about twice as fast as they open (Evinger et al., 1991)."""

SWAY_AMPLITUDE = 0.0075
"""Largest shift as a fraction of the picture's side, per axis."""

ROLL_AMPLITUDE_RAD = 0.014

SWAY_PERIODS_S = (11.3, 7.1, 4.3)
"""Periods without common multiples, so that the movement does not visibly repeat."""

SWAY_SHARES = (0.55, 0.3, 0.15)


@dataclass(frozen=True, slots=True)
class _Sine:
    """One of the slow movements that add up along an axis."""

    amplitude: float
    period_s: float
    phase_rad: float


def idle_motion(times_s: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """Blink, sway_x, sway_y and roll at `times_s` `[n]`, as `[n, 4]`.

    Equal seeds and times give equal rows. Plain floats: a request has two to four rows, and for so
    few numpy costs ten times what the sums do.
    """
    axes = _axes(seed)
    rows = [
        (_blink(time_s, seed), *(_sum_of_sines(axis, time_s) for axis in axes))
        for time_s in times_s.tolist()
    ]
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def _blink(time_s: float, seed: int) -> float:
    slot = math.floor(time_s / BLINK_SLOT_S)
    since_s = time_s - slot * BLINK_SLOT_S - _blink_offset_s(seed, slot)
    return _smooth(since_s / BLINK_CLOSE_S) - _smooth(
        (since_s - BLINK_CLOSE_S - BLINK_HOLD_S) / BLINK_OPEN_S
    )


@lru_cache(maxsize=1024)
def _blink_offset_s(seed: int, slot: int) -> float:
    return BLINK_SLOT_S * (0.25 + 0.5 * _uniform(seed, slot))


@lru_cache(maxsize=256)
def _axes(seed: int) -> tuple[tuple[_Sine, ...], ...]:
    """The sines of sway_x, sway_y and roll."""
    amplitudes = (SWAY_AMPLITUDE, 0.7 * SWAY_AMPLITUDE, ROLL_AMPLITUDE_RAD)
    return tuple(
        _sines(amplitude, seed, axis) for axis, amplitude in enumerate(amplitudes, start=1)
    )


def _sines(amplitude: float, seed: int, axis: int) -> tuple[_Sine, ...]:
    sines = []
    for number, (period_s, share) in enumerate(zip(SWAY_PERIODS_S, SWAY_SHARES, strict=True)):
        phase_rad = 2.0 * math.pi * _uniform(seed, -1000 * axis - number)
        stretch = 0.9 + 0.2 * _uniform(seed, -5000 - 1000 * axis - number)
        sines.append(_Sine(amplitude * share, period_s * stretch, phase_rad))
    return tuple(sines)


def _sum_of_sines(sines: tuple[_Sine, ...], time_s: float) -> float:
    return sum(
        [
            sine.amplitude * math.sin(2.0 * math.pi * time_s / sine.period_s + sine.phase_rad)
            for sine in sines
        ]
    )


def _smooth(phase: float) -> float:
    clipped = min(max(phase, 0.0), 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)


def _uniform(seed: int, number: int) -> float:
    """A number in [0, 1) that depends on both arguments only, on every machine."""
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
