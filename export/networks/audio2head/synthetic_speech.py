"""Synthetic voice that the recorded features and programs were given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.seeded import seeded_input

SAMPLE_RATE_HZ = 16_000
HARMONICS = 12


def speech(samples: int, seed: int) -> NDArray[np.int16]:
    """A gliding harmonic tone with some noise that swells and fades 1.5 times a second."""
    u0, u1, u2, u3 = seeded_input("wave/params", (4,), seed).astype(np.float64)
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    pitch_hz = 110.0 + 60.0 * u0 + 25.0 * np.sin(2 * np.pi * 0.7 * time_s + 2 * np.pi * u1)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    voice = np.sum([np.sin(k * phase) / k**1.2 for k in range(1, HARMONICS + 1)], axis=0)
    envelope = np.clip(0.5 + 1.5 * np.sin(2 * np.pi * 1.5 * time_s + 2 * np.pi * u2), 0.0, 1.0)
    noise = seeded_input("wave/noise", (samples,), seed, -1.0, 1.0).astype(np.float64)
    mixed = 0.15 * envelope * voice + 0.01 * (0.3 + u3) * noise
    rounded: NDArray[np.int16] = np.round(32767.0 * mixed).astype(np.int16)
    return rounded
