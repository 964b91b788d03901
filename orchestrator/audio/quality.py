"""Quality of a recording for lip-sync, for messages to the user of a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.audio.noise_floor import MIN_RECORDED_POWER, noise_power
from orchestrator.audio.voice_activity import BLOCK_SAMPLES, NOISE_CEILING_DB
from orchestrator.core.types import Samples

MAX_SNR_DB: Final = 60.0
"""Largest reported SNR, also reported where no noise can be found."""

MIN_CLIPPED_LEVEL: Final = 0.999
"""Level of a clipped sample, of full scale; 16-bit samples at their limit are above it."""

MIN_CLIPPED_RUN: Final = 3
"""Neighbouring samples at the limit that only a clipped wave has."""

_MIN_POWER: Final = 1e-12


@dataclass(frozen=True, slots=True)
class AudioQuality:
    """The specification's five figures."""

    snr_db: float
    """Power of the sound over the power of the steady noise, -20 to 60 dB.

    Padding with zeros counts for neither.
    """
    clarity: float
    """0..1: the share of power that is not noise (the Wiener gain).

    Mean over 10 ms blocks, weighted by amplitude.
    """
    volume_db: float
    """Root mean square in dB of full scale, not below -120."""
    has_clipping: bool
    silence_ratio: float
    """0..1: share of 10 ms blocks below -60 dB of full scale."""


def assess_quality(samples: Samples) -> AudioQuality:
    """Quality of 16 kHz samples.

    `noise_power` describes the noise estimate and its limits; from a second on the figures are
    reliable.
    """
    if not len(samples):
        return AudioQuality(MAX_SNR_DB, 0.0, -120.0, has_clipping=False, silence_ratio=1.0)
    blocks = _blocks(samples)
    power, noise = blocks.var(axis=1), noise_power(samples)
    heard = (
        float(blocks[power > MIN_RECORDED_POWER].var())
        if (power > MIN_RECORDED_POWER).any()
        else 0.0
    )
    silent = power < 10.0 ** (NOISE_CEILING_DB / 10.0)
    gain = np.clip(1.0 - noise / np.maximum(power, _MIN_POWER), 0.0, 1.0)
    return AudioQuality(
        snr_db=_decibels(
            max(heard - noise, _MIN_POWER) / max(noise, _MIN_POWER), -20.0, MAX_SNR_DB
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
    return min(highest, max(lowest, 10.0 * float(np.log10(max(ratio, _MIN_POWER)))))


def _is_clipped(samples: Samples) -> bool:
    """True if the samples are clipped; both limits are checked separately.

    A square wave may jump from one to the other.
    """
    for at_limit in (samples >= MIN_CLIPPED_LEVEL, samples <= -MIN_CLIPPED_LEVEL):
        runs = (
            np.convolve(at_limit, np.ones(MIN_CLIPPED_RUN), "valid")
            if len(samples) >= MIN_CLIPPED_RUN
            else np.zeros(1)
        )
        if runs.max() >= MIN_CLIPPED_RUN:
            return True
    return False
