"""Synthetic music in several families, as training data with a shut mouth.

One family is kept for judging.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from export.audio2motion.channel import in_room
from export.audio2motion.noises import Generator
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.types import Samples

_SCALES: Final = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 3, 5, 7, 10),
    tuple(range(12)),
)
Tone = NDArray[np.float64]


def _melody(rng: np.random.Generator, seconds: float) -> list[tuple[float, float, float, float]]:
    """Notes (start s, length s, Hz, loudness) on a grid, one to four at a time."""
    beat_s, scale, root_hz = (
        rng.uniform(0.1, 0.6),
        _SCALES[rng.integers(len(_SCALES))],
        55 * 2 ** rng.uniform(0, 2),
    )
    legato, voices, degree = (
        rng.uniform(0.4, 2.5),
        int(rng.integers(1, 5)),
        int(rng.integers(5, 15)),
    )
    notes, now_s = [], 0.0
    while now_s < seconds:
        length_s = beat_s * float(rng.choice([1, 1, 2, 4]))
        degree = int(np.clip(degree + rng.integers(-3, 4), 0, 20))
        for voice in range(voices if rng.random() < 0.9 else 0):
            step = degree + 2 * voice
            pitch_hz = root_hz * 2 ** (step // len(scale) + scale[step % len(scale)] / 12)
            notes.append(
                (now_s, length_s * legato, min(pitch_hz, 3000.0), float(rng.uniform(0.3, 1.0)))
            )
        now_s += length_s
    return notes


def _mix(notes: list[tuple[float, float, float, float]], count: int, play: object) -> Tone:
    wave = np.zeros(count + SAMPLE_RATE_HZ * 4)
    for start_s, length_s, hz, loud in notes:
        tone = play(hz, max(0.05, min(length_s, 3.5)))  # type: ignore[operator]
        start = int(start_s * SAMPLE_RATE_HZ)
        span = min(len(tone), len(wave) - start)
        wave[start : start + span] += tone[:span] * loud
    return wave[:count]


def _envelope(count: int, attack_s: float, decay: float) -> Tone:
    times_s = np.arange(count) / SAMPLE_RATE_HZ
    release = np.minimum(1.0, (count - np.arange(count)) / (0.03 * SAMPLE_RATE_HZ))
    return np.minimum(1.0, times_s / attack_s) * np.exp(-decay * times_s) * release


def additive(count: int, rng: np.random.Generator) -> Samples:
    """Organs, pads, winds, bowed strings.

    Harmonics under a random body resonance, with vibrato and tremolo.
    """
    harmonics = np.arange(1, int(rng.integers(2, 24)))
    weights = harmonics ** -rng.uniform(0.4, 2.0) * np.exp(rng.normal(0, 0.7, len(harmonics)))
    body_hz, body_width = rng.uniform(200, 3000, 3), rng.uniform(0.1, 0.6)
    vibrato_hz, depth, glide = (
        rng.uniform(3, 8),
        rng.choice([0.0, rng.uniform(0, 0.05)]),
        rng.choice([0.0, rng.uniform(-0.3, 0.3)]),
    )
    glide_s, tremolo = rng.uniform(0.02, 0.4), rng.choice([0.0, rng.uniform(0, 0.9)])
    attack_s, decay = rng.uniform(0.005, 0.3), rng.choice([0.0, rng.uniform(0.2, 6)])

    def play(hz: float, length_s: float) -> Tone:
        n = int(length_s * SAMPLE_RATE_HZ)
        times_s = np.arange(n) / SAMPLE_RATE_HZ
        bend = (
            1
            + depth * np.sin(2 * np.pi * vibrato_hz * times_s)
            - glide * np.exp(-times_s / glide_s)
        )
        phase = 2 * np.pi * hz * np.cumsum(bend) / SAMPLE_RATE_HZ
        used = harmonics[harmonics * hz < 7800]
        gains = weights[: len(used)] * (
            0.15 + np.exp(-((np.log(used[:, None] * hz / body_hz) / body_width) ** 2)).sum(1)
        )
        tones: Tone = sum(
            (g * np.sin(k * phase) for k, g in zip(used, gains, strict=True)), np.zeros(n)
        )
        return (
            tones
            * _envelope(n, attack_s, decay)
            * (1 - tremolo * np.sin(np.pi * vibrato_hz * times_s) ** 2)
        )

    return _mix(_melody(rng, count / SAMPLE_RATE_HZ), count, play).astype(np.float32)


def frequency_modulated(count: int, rng: np.random.Generator) -> Samples:
    """Electric pianos, basses and brass of FM synthesisers."""
    ratio, index, brightness = (
        float(rng.choice([0.5, 1, 1, 2, 3, 1.41, 3.5])),
        rng.uniform(0.3, 8),
        rng.uniform(0.2, 8),
    )
    attack_s, decay = rng.uniform(0.002, 0.1), rng.uniform(0.2, 6)

    def play(hz: float, length_s: float) -> Tone:
        n = int(length_s * SAMPLE_RATE_HZ)
        times_s = np.arange(n) / SAMPLE_RATE_HZ
        tone: Tone = np.sin(
            2 * np.pi * hz * times_s
            + index * np.exp(-brightness * times_s) * np.sin(2 * np.pi * ratio * hz * times_s)
        )
        return tone * _envelope(n, attack_s, decay)

    return _mix(_melody(rng, count / SAMPLE_RATE_HZ), count, play).astype(np.float32)


def plucked(count: int, rng: np.random.Generator) -> Samples:
    """Guitars and harps (Karplus and Strong): a burst of noise in a damped delay line."""
    damping, blend = rng.uniform(0.98, 0.999), rng.uniform(0.3, 0.5)

    def play(hz: float, length_s: float) -> Tone:
        n, period = int(max(length_s, 0.5) * SAMPLE_RATE_HZ), max(2, int(SAMPLE_RATE_HZ / hz))
        burst = np.zeros(n)
        burst[:period] = rng.uniform(-1, 1, min(period, n))
        loop = np.zeros(period + 2)
        loop[0], loop[period], loop[period + 1] = 1.0, -damping * (1 - blend), -damping * blend
        plucked_tone: Tone = lfilter([1.0], loop, burst)
        return plucked_tone * _envelope(n, 0.001, 0.5)

    return _mix(_melody(rng, count / SAMPLE_RATE_HZ), count, play).astype(np.float32)


def filtered_saw(count: int, rng: np.random.Generator) -> Samples:
    """Analogue synthesisers: detuned saws through a resonant filter that sweeps.

    Of all music the most similar to vowels.
    """
    wave = np.zeros(count)
    times_s = np.arange(count) / SAMPLE_RATE_HZ
    notes = _melody(rng, count / SAMPLE_RATE_HZ)

    def play(hz: float, length_s: float) -> Tone:
        t = np.arange(int(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        return sum(
            (2 * ((hz * d * t) % 1.0) - 1 for d in (1.0, 1.004, 0.997)), np.zeros(len(t))
        ) * _envelope(len(t), 0.01, 0.5)

    saws = _mix(notes, count, play)
    centres_hz = np.exp(
        np.log(rng.uniform(300, 1500))
        + rng.uniform(0.2, 0.9) * np.sin(2 * np.pi * rng.uniform(0.1, 5) * times_s)
    )
    for low_hz, high_hz in zip((100, 400, 800, 1600), (400, 800, 1600, 5000), strict=True):
        band = sosfilt(
            butter(2, [low_hz, high_hz], "bandpass", fs=SAMPLE_RATE_HZ, output="sos"), saws
        )
        wave += band * np.exp(
            -(np.log(centres_hz / np.sqrt(low_hz * high_hz)) ** 2) * rng.uniform(0.5, 3)
        )
    return wave.astype(np.float32)


def distorted(count: int, rng: np.random.Generator) -> Samples:
    """Electric guitars and leads: another family, overdriven, with beating chords."""
    clean = FAMILIES[rng.integers(3)](count, rng)
    drive = rng.uniform(1, 12)
    return np.tanh(clean / (clean.std() + 1e-6) * drive + rng.uniform(0, 0.5)).astype(np.float32)


def pulse_sequence(count: int, rng: np.random.Generator) -> Samples:
    """Sequencers: fast repeated patterns of pulse waves with moving width and cut-off.

    As in dance music.
    """
    step, pattern = (
        int(rng.uniform(0.07, 0.25) * SAMPLE_RATE_HZ),
        rng.integers(-12, 13, int(rng.choice([4, 6, 8, 16]))),
    )
    notes = np.repeat(np.resize(pattern, count // step + 1), step)[:count]
    phase = np.cumsum(rng.uniform(80, 500) * 2 ** (notes / 12)) / SAMPLE_RATE_HZ
    width = 0.5 + rng.uniform(0, 0.45) * np.sin(
        2 * np.pi * rng.uniform(0.1, 3) * np.arange(count) / SAMPLE_RATE_HZ
    )
    gate = np.exp(-((np.arange(count) % step) / step) * rng.uniform(0, 6))
    pulse = ((phase % 1.0) < width).astype(np.float64) - width
    band = butter(
        2, [60, float(rng.uniform(800, 6000))], "bandpass", fs=SAMPLE_RATE_HZ, output="sos"
    )
    return (sosfilt(band, pulse) * gate).astype(np.float32)


def drums(count: int, rng: np.random.Generator) -> Samples:
    """Kick, snare and hi-hat patterns."""
    wave, step = np.zeros(count), max(1, int(rng.uniform(0.08, 0.25) * SAMPLE_RATE_HZ))
    pattern = rng.random((3, 16)) < np.array([[0.3], [0.2], [0.6]])
    t = np.arange(int(0.25 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    sounds = (
        np.sin(2 * np.pi * (50 * t + 6 * (1 - np.exp(-t * rng.uniform(15, 40)))))
        * np.exp(-t * rng.uniform(8, 25)),
        (rng.normal(size=len(t)) + np.sin(2 * np.pi * rng.uniform(150, 250) * t))
        * np.exp(-t * rng.uniform(12, 40))
        * 0.6,
        np.diff(rng.normal(size=len(t) + 1)) * np.exp(-t * rng.uniform(20, 120)) * 0.3,
    )
    for index in range(count // step):
        for sound, hits in zip(sounds, pattern, strict=True):
            if hits[index % 16]:
                span = min(len(sound), count - index * step)
                wave[index * step : index * step + span] += sound[:span] * rng.uniform(0.6, 1.0)
    return wave.astype(np.float32)


def arrangement(count: int, rng: np.random.Generator) -> Samples:
    """Two or three instruments of the other families, with or without drums, in a room."""
    parts = [FAMILIES[rng.integers(len(FAMILIES))](count, rng) for _ in range(rng.integers(1, 4))]
    if rng.random() < 0.5:
        parts.append(drums(count, rng))
    mixed = sum(
        (p / (p.std() + 1e-6) * rng.uniform(0.3, 1.0) for p in parts), np.zeros(count, np.float32)
    )
    return in_room(mixed, rng) if rng.random() < 0.5 else mixed


FAMILIES: Final[tuple[Generator, ...]] = (
    additive,
    frequency_modulated,
    plucked,
    filtered_saw,
    drums,
    additive,
    distorted,
    pulse_sequence,
)


def unseen_music(count: int, rng: np.random.Generator) -> Samples:
    """A sliding bowed lead over inharmonic bells and a rolled noise-burst beat.

    For judging only. The lead is made by wave-shaping.
    """
    times_s = np.arange(count) / SAMPLE_RATE_HZ
    steps = np.repeat(rng.integers(-5, 8, count // 4000 + 1), 4000)[:count]
    slide = lfilter([0.0008], [1, -0.9992], steps - steps[0])
    phase = (
        np.cumsum(220 * 2 ** ((slide + 0.3 * np.sin(2 * np.pi * 5.5 * times_s)) / 12))
        / SAMPLE_RATE_HZ
    )
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * times_s) ** 2
    lead = np.tanh(3 * np.sin(2 * np.pi * phase) + 0.8 * np.sin(4 * np.pi * phase + 1)) * swell
    bells = np.zeros(count)
    for start in range(0, count - 8000, int(rng.integers(4000, 9000))):
        t = np.arange(min(count - start, 16000)) / SAMPLE_RATE_HZ
        base_hz = rng.choice([523.0, 659.0, 784.0, 988.0])
        bells[start : start + len(t)] += sum(
            np.sin(2 * np.pi * base_hz * r * t) * np.exp(-t * (2 + r)) for r in (1, 2.76, 5.4)
        )
    beat = rng.normal(size=count) * np.exp(-((times_s * rng.uniform(1.5, 4)) % 1.0) * 12) * 0.4
    return (lead * rng.uniform(0.2, 1) + bells * rng.uniform(0.2, 1) + beat).astype(np.float32)


def unseen_combs(count: int, rng: np.random.Generator) -> Samples:
    """Noise and clicks through tuned comb filters over a pulsing sub-bass.

    For judging only, and kept for the end.
    """
    times_s = np.arange(count) / SAMPLE_RATE_HZ
    exciter = rng.normal(size=count) * 0.1 + (rng.random(count) < 0.0008) * 4.0
    wave = np.zeros(count)
    for semitones in rng.choice([0, 3, 4, 7, 9, 12, 14], 3, replace=False):
        delay = int(SAMPLE_RATE_HZ / (rng.choice([110.0, 147.0, 196.0]) * 2 ** (semitones / 12)))
        comb = np.zeros(delay + 1)
        comb[0], comb[delay] = 1.0, -rng.uniform(0.95, 0.99)
        wave += lfilter([1.0], comb, exciter) * (
            0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 2.5) * times_s + rng.uniform(0, 6))
        )
    bass = np.sin(2 * np.pi * 55 * times_s) * np.exp(-((times_s * 2) % 1.0) * 4)
    return (wave / (wave.std() + 1e-6) + bass).astype(np.float32)
