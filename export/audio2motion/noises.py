"""Sounds without speech that must leave the mouth shut: rooms, machines, hands, crowds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from export.audio2motion.channel import coloured, in_room, low_passed
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.types import Samples

Generator = Callable[[int, np.random.Generator], Samples]


def steady(count: int, rng: np.random.Generator) -> Samples:
    """Air, fans, tape: coloured noise whose level drifts."""
    return coloured(count, rng.uniform(-0.3, 2.2), rng) * _swell(
        count, 60.0, rng.uniform(0, 0.5), rng
    )


def gusts(count: int, rng: np.random.Generator) -> Samples:
    """Wind, traffic, applause: noise whose level changes fast and widely.

    At rates that speech has too.
    """
    return coloured(count, rng.uniform(0, 2), rng) * _swell(
        count, rng.uniform(2, 40), rng.uniform(0.5, 1.8), rng
    )


def _swell(count: int, blur_frames: float, depth: float, rng: np.random.Generator) -> Samples:
    """A random gain around 1 that changes over `blur_frames` of 10 ms.

    Its logarithm has the spread `depth`.
    """
    curve = gaussian_filter1d(rng.normal(size=count // 160 + 2), blur_frames)
    curve = (curve - curve.mean()) / max(curve.std(), 1e-3) * depth
    return np.exp(np.interp(np.arange(count), np.arange(len(curve)) * 160, curve)).astype(
        np.float32
    )


def hum(count: int, rng: np.random.Generator) -> Samples:
    """Mains and motors: a low tone with harmonics, and a little air."""
    times_s = np.arange(count) / SAMPLE_RATE_HZ
    base_hz = rng.choice([50.0, 60.0, rng.uniform(30, 200)])
    wobble = rng.uniform(0, 0.02) * np.sin(2 * np.pi * rng.uniform(0.1, 5) * times_s)
    tones = sum(
        rng.uniform(0, 1) / k * np.sin(2 * np.pi * k * base_hz * (times_s + wobble / 10) + k)
        for k in range(1, 16)
    )
    return (tones + 0.05 * coloured(count, 1.0, rng)).astype(np.float32)


def taps(count: int, rng: np.random.Generator) -> Samples:
    """Keyboard, clicks, knocks, dishes: short decaying bursts at random times in a room."""
    wave = np.zeros(count, np.float32)
    for _ in range(int(rng.uniform(1, 9) * count / SAMPLE_RATE_HZ)):
        length = int(rng.uniform(0.003, 0.12) * SAMPLE_RATE_HZ)
        start = int(rng.integers(0, max(1, count - length)))
        decay = np.exp(-np.arange(length) / (length * rng.uniform(0.08, 0.3)))
        ring = np.sin(
            2 * np.pi * rng.uniform(150, 6000) * np.arange(length) / SAMPLE_RATE_HZ
        ) * rng.uniform(0, 2)
        wave[start : start + length] += (
            decay * (rng.normal(size=length) + ring) * rng.uniform(0.1, 1.0)
        )[: count - start]
    return in_room(wave, rng) if rng.random() < 0.6 else wave


def breaths(count: int, rng: np.random.Generator) -> Samples:
    """Breath-like noise: a resonance-coloured hiss that swells and falls every second or two."""
    low_hz = rng.uniform(200, 900)
    hiss = sosfilt(
        butter(
            2, [low_hz, low_hz * rng.uniform(3, 7)], "bandpass", fs=SAMPLE_RATE_HZ, output="sos"
        ),
        rng.normal(size=count),
    )
    times_s = np.arange(count) / SAMPLE_RATE_HZ
    swell = np.maximum(
        0, np.sin(2 * np.pi * rng.uniform(0.2, 0.9) * times_s + rng.uniform(0, 6))
    ) ** rng.uniform(1, 3)
    return (hiss * swell + 0.01 * coloured(count, 1.0, rng)).astype(np.float32)


def beeps(count: int, rng: np.random.Generator) -> Samples:
    """Ring tones, alarms and dial tones: one or two tones switched on and off, or swept."""
    times_s = np.arange(count) / SAMPLE_RATE_HZ
    pair_hz = rng.uniform(200, 3000, 2)
    sweep = 1 + rng.choice([0.0, rng.uniform(0, 0.5)]) * np.sin(
        2 * np.pi * rng.uniform(0.2, 6) * times_s
    )
    phase = 2 * np.pi * np.cumsum(sweep) / SAMPLE_RATE_HZ
    tone = np.sin(pair_hz[0] * phase) + rng.choice([0.0, 1.0]) * np.sin(pair_hz[1] * phase)
    gate = low_passed(
        (np.sin(2 * np.pi * rng.uniform(0.3, 8) * times_s) > rng.uniform(-0.9, 0.5)).astype(
            np.float32
        ),
        60.0,
    )
    return (tone * gate).astype(np.float32)


NOISES: Final[tuple[Generator, ...]] = (steady, steady, gusts, hum, taps, breaths, beeps)


def babble(count: int, voices: Sequence[Samples], rng: np.random.Generator) -> Samples:
    """A crowd: several voices at once, each repeated and shifted.

    Their number is large enough that no single one can be followed.
    """
    wave = np.zeros(count, np.float64)
    for index in rng.choice(len(voices), size=int(rng.integers(5, 12))):
        voice = voices[index]
        wave += (
            np.roll(np.resize(voice, count), rng.integers(count))
            * rng.uniform(0.4, 1.0)
            / (voice.std() + 1e-6)
        )
    return in_room(wave.astype(np.float32), rng)
