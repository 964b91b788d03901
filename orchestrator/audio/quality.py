"""How good a recording is for lip-sync: what a client can tell its user before blaming the lips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.audio.noise_floor import GATED, noise_power
from orchestrator.audio.voice_activity import BLOCK_SAMPLES, NOISE_CEILING_DB
from orchestrator.core.types import Samples

LARGEST_SNR_DB: Final = 60.0
"""Told where no noise can be found, and the limit of what is told."""

CLIPPED: Final = 0.999
"""Of full scale; 16-bit samples at their limit are above it."""

CLIPPED_RUN: Final = 3
"""Neighbouring samples at the limit that a sound wave does not have unless it was cut."""

_LEAST_POWER: Final = 1e-12


@dataclass(frozen=True, slots=True)
class AudioQuality:
    """The specification's five figures."""

    snr_db: float
    """Power of what is not noise over the power of the steady noise, -20 to 60 dB; padding with
    zeros counts for neither.
    """
    clarity: float
    """0..1: the share of power that is not noise (the Wiener gain) of 10 ms blocks, in their mean
    weighted by amplitude.
    """
    volume_db: float
    """Root mean square in dB of full scale, not below -120."""
    has_clipping: bool
    silence_ratio: float
    """0..1: blocks of 10 ms below -60 dB of full scale."""


def assess_quality(samples: Samples) -> AudioQuality:
    """Of 16 kHz samples. `noise_power` says how the noise is told and where it cannot be; a second
    and more makes its figures sure.
    """
    if not len(samples):
        return AudioQuality(LARGEST_SNR_DB, 0.0, -120.0, has_clipping=False, silence_ratio=1.0)
    blocks = _blocks(samples)
    power, noise = blocks.var(axis=1), noise_power(samples)
    heard = float(blocks[power > GATED].var()) if (power > GATED).any() else 0.0
    silent = power < 10.0 ** (NOISE_CEILING_DB / 10.0)
    gain = np.clip(1.0 - noise / np.maximum(power, _LEAST_POWER), 0.0, 1.0)
    return AudioQuality(
        snr_db=_decibels(
            max(heard - noise, _LEAST_POWER) / max(noise, _LEAST_POWER), -20.0, LARGEST_SNR_DB
        ),
        clarity=0.0
        if silent.all()
        else float(np.average(gain[~silent], weights=np.sqrt(power[~silent]))),
        volume_db=_decibels(float(np.square(samples, dtype=np.float64).mean()), -120.0, 0.0),
        has_clipping=_is_clipped(samples),
        silence_ratio=float(silent.mean()),
    )


def _blocks(samples: Samples) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    whole = max(BLOCK_SAMPLES, len(samples) - len(samples) % BLOCK_SAMPLES)
    return np.resize(samples, whole).reshape(-1, BLOCK_SAMPLES).astype(np.float64)


def _decibels(ratio: float, lowest: float, highest: float) -> float:
    return min(highest, max(lowest, 10.0 * float(np.log10(max(ratio, _LEAST_POWER)))))


def _is_clipped(samples: Samples) -> bool:
    """Both limits are looked at apart: a square wave may jump from one to the other."""
    for at_limit in (samples >= CLIPPED, samples <= -CLIPPED):
        runs = (
            np.convolve(at_limit, np.ones(CLIPPED_RUN), "valid")
            if len(samples) >= CLIPPED_RUN
            else np.zeros(1)
        )
        if runs.max() >= CLIPPED_RUN:
            return True
    return False
