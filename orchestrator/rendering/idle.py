"""What keeps an idle face alive: blinks and a slight sway, as a pure function of time, so that any chunking agrees."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

BLINK_SLOT_S = 4.0
"""One blink falls into each slot; with its place drawn from the middle half, gaps are 2 to 6 seconds."""

BLINK_CLOSE_S = 0.075
BLINK_HOLD_S = 0.03
BLINK_OPEN_S = 0.135
"""Lids close about twice as fast as they open (Evinger et al., 1991)."""

SWAY_AMPLITUDE = 0.0075
"""Largest shift as a fraction of the picture's side, per axis."""

ROLL_AMPLITUDE_RAD = 0.014

SWAY_PERIODS_S = (11.3, 7.1, 4.3)
"""Not multiples of each other, so that the movement does not visibly repeat."""

SWAY_SHARES = (0.55, 0.3, 0.15)


def idle_motion(times_s: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """Blink, sway_x, sway_y and roll at `times_s` `[n]`, as `[n, 4]`; equal seeds and times give equal rows."""
    times = np.asarray(times_s, dtype=np.float64)
    rows = np.empty((len(times), 4), dtype=np.float32)
    rows[:, 0] = _blink(times, seed)
    rows[:, 1] = SWAY_AMPLITUDE * _slow_sines(times, seed, 1)
    rows[:, 2] = 0.7 * SWAY_AMPLITUDE * _slow_sines(times, seed, 2)
    rows[:, 3] = ROLL_AMPLITUDE_RAD * _slow_sines(times, seed, 3)
    return rows


def _blink(times: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    slots = np.floor(times / BLINK_SLOT_S).astype(np.int64)
    offsets = {slot: BLINK_SLOT_S * (0.25 + 0.5 * _uniform(seed, int(slot))) for slot in np.unique(slots)}
    since = times - slots * BLINK_SLOT_S - np.array([offsets[slot] for slot in slots])
    closing = _smooth(since / BLINK_CLOSE_S)
    opening = _smooth((since - BLINK_CLOSE_S - BLINK_HOLD_S) / BLINK_OPEN_S)
    lids: NDArray[np.float64] = closing - opening
    return lids


def _slow_sines(times: NDArray[np.float64], seed: int, axis: int) -> NDArray[np.float64]:
    total = np.zeros_like(times)
    for number, (period, share) in enumerate(zip(SWAY_PERIODS_S, SWAY_SHARES, strict=True)):
        phase = 2.0 * np.pi * _uniform(seed, -1000 * axis - number)
        stretch = 0.9 + 0.2 * _uniform(seed, -5000 - 1000 * axis - number)
        total += share * np.sin(2.0 * np.pi * times / (period * stretch) + phase)
    return total


def _smooth(phase: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(phase, 0.0, 1.0)
    ramp: NDArray[np.float64] = clipped * clipped * (3.0 - 2.0 * clipped)
    return ramp


def _uniform(seed: int, number: int) -> float:
    """A number in [0, 1) that depends on both arguments only, on every machine."""
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
