"""Test speech of the reference records, and upstream's mel of a whole file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.seeded import seeded_input
from orchestrator.audio.features.decibel_mel import decibel_mel_frames, emphasise
from orchestrator.audio.features.log_mel import signal_windows
from orchestrator.core.types import Samples
from orchestrator.models.sadtalker.features import MEL

SAMPLE_RATE_HZ = 16_000


def seeded_speech(samples: int, seed: int) -> NDArray[np.int16]:
    """A buzz of twelve harmonics with a gliding pitch and some noise; 16 kHz.

    It swells and fades.
    """
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    u0, u1, u2, u3 = seeded_input("wave/params", (4,), seed).astype(np.float64)
    pitch_hz = 110.0 + 60.0 * u0 + 25.0 * np.sin(2.0 * np.pi * 0.7 * time_s + 2.0 * np.pi * u1)
    phase = 2.0 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    buzz = sum((np.sin(k * phase) / k**1.2 for k in range(1, 13)), start=np.zeros(samples))
    loudness = np.clip(0.5 + 1.5 * np.sin(2.0 * np.pi * 1.5 * time_s + 2.0 * np.pi * u2), 0.0, 1.0)
    noise = seeded_input("wave/noise", (samples,), seed, -1.0, 1.0).astype(np.float64)
    wave = 0.15 * loudness * buzz + 0.01 * (0.3 + u3) * noise
    return np.round(32767.0 * wave).astype(np.int16)


def mel_of_file(samples: Samples) -> NDArray[np.float32]:
    """`[1 + n // 200, 80]`; silence lies beyond the ends, as in upstream's librosa."""
    half = MEL.win_length // 2
    padded = np.pad(emphasise(samples), half)
    return decibel_mel_frames(signal_windows(padded, MEL), MEL)
