"""Many voices from one synthetic voice, through the WORLD vocoder.

Pitch, vocal tract, breath and timing are changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from export.audio2motion.speech import PAUSE, Phone, Utterance
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ

_PERIOD_S: Final = 0.005
Curve = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VoiceChange:
    """Parameters of a changed voice; drawn by `draw_change`."""

    tract_scale: float
    """Factor on all formant frequencies: > 1 is a shorter vocal tract."""
    pitch_hz: float
    pitch_range: float
    """Factor on the engine's own intonation; random intonation is added to it."""
    breath: float
    """Exponent on the aperiodicity: < 1 is a breathier voice."""
    smear_ms: float
    """Blur of the spectrum over time: slurred rather than crisp articulation."""
    speed: float
    unevenness: float
    """Spread (log) of the random stretch of single phones."""
    seed: int


def draw_change(rng: np.random.Generator) -> VoiceChange:
    """A random speaker; a short vocal tract goes loosely with a high pitch."""
    tract_scale = float(np.exp(rng.uniform(np.log(0.82), np.log(1.24))))
    return VoiceChange(
        tract_scale=tract_scale,
        pitch_hz=float(np.clip(130 * tract_scale**3 * np.exp(rng.normal(0, 0.28)), 70, 380)),
        pitch_range=float(rng.uniform(0.3, 1.6)),
        breath=float(rng.uniform(0.45, 1.4)),
        smear_ms=float(rng.choice([0.0, rng.uniform(2, 14)])),
        speed=float(np.exp(rng.normal(0.0, 0.16))),
        unevenness=float(rng.uniform(0.05, 0.3)),
        seed=int(rng.integers(2**31)),
    )


def changed_voices(utterance: Utterance, changes: Sequence[VoiceChange]) -> list[Utterance]:
    """The utterance in each changed voice; its phones move with its sound."""
    analysis = _analyse(utterance)
    return [_changed(utterance, analysis, change) for change in changes]


def _changed(
    utterance: Utterance, analysis: tuple[Curve, Curve, Curve], change: VoiceChange
) -> Utterance:
    import pyworld

    rng = np.random.default_rng(change.seed)
    pitch, envelope, breath = analysis
    phones, old_times = stretch(utterance.phones, change, rng)
    at = np.clip(old_times / _PERIOD_S, 0, len(pitch) - 1.001)
    envelope = _warp_tract(_between(envelope, at), change.tract_scale)
    envelope += _flutter(len(at), envelope.shape[1], rng)
    if change.smear_ms > 0:
        envelope = gaussian_filter1d(envelope, change.smear_ms / 1000 / _PERIOD_S, axis=0)
    breath = np.clip(_between(breath, at), 1e-3, 1 - 1e-6) ** change.breath
    new_pitch = _intonation(pitch[np.round(at).astype(int)], change, rng)
    power, breath = np.ascontiguousarray(np.exp(envelope)), np.ascontiguousarray(breath)
    wave = pyworld.synthesize(new_pitch, power, breath, SAMPLE_RATE_HZ, _PERIOD_S * 1000)
    length = round(phones[-1].end_s * SAMPLE_RATE_HZ)
    samples = np.zeros(length, np.float32)
    samples[: min(length, len(wave))] = wave[:length]
    return replace(utterance, samples=samples, phones=phones, voice=f"{utterance.voice}*")


def stretch(
    phones: tuple[Phone, ...], change: VoiceChange, rng: np.random.Generator
) -> tuple[tuple[Phone, ...], Curve]:
    """Phones with their lengths changed, and a map of time.

    For every 5 ms of the new time the map holds the old time.
    """
    factors = np.exp(rng.normal(0, change.unevenness, len(phones))) / change.speed
    factors = np.where(
        [p.symbol == PAUSE for p in phones], np.clip(factors, 0.7, 1.4), np.clip(factors, 0.6, 1.8)
    )
    old = np.array([phones[0].start_s] + [p.end_s for p in phones])
    new = np.concatenate([[0.0], np.cumsum(np.diff(old) * factors)])
    moved = tuple(
        Phone(p.symbol, float(a), float(b))
        for p, a, b in zip(phones, new[:-1], new[1:], strict=True)
    )
    return moved, np.interp(np.arange(int(new[-1] / _PERIOD_S) + 1) * _PERIOD_S, new, old)


def _analyse(utterance: Utterance) -> tuple[Curve, Curve, Curve]:
    """Pitch (0 where voiceless), log envelope and aperiodicity every 5 ms.

    Faint noise keeps the logarithm finite.
    """
    import pyworld

    wave = utterance.samples.astype(np.float64) + np.random.default_rng(0).normal(
        0, 1e-5, len(utterance.samples)
    )
    pitch, times = pyworld.dio(wave, SAMPLE_RATE_HZ, frame_period=_PERIOD_S * 1000)
    pitch = pyworld.stonemask(wave, pitch, times, SAMPLE_RATE_HZ)
    envelope = pyworld.cheaptrick(wave, pitch, times, SAMPLE_RATE_HZ)
    return pitch, np.log(envelope), pyworld.d4c(wave, pitch, times, SAMPLE_RATE_HZ)


def _between(frames: Curve, at: Curve) -> Curve:
    low = at.astype(int)
    part = (at - low)[:, None]
    mixed: Curve = frames[low] * (1 - part) + frames[low + 1] * part
    return mixed


def _warp_tract(envelope: Curve, scale: float) -> Curve:
    bins = envelope.shape[1]
    return _between(envelope.T, np.clip(np.arange(bins) / scale, 0, bins - 1.001)).T


def _flutter(frames: int, bins: int, rng: np.random.Generator) -> Curve:
    """Slow random loudness of six broad bands (log power).

    No person repeats a sound identically.
    """
    knots = gaussian_filter1d(rng.normal(size=(frames, 6)), 0.12 / _PERIOD_S, axis=0)
    knots *= rng.uniform(0.0, 0.6) / (knots.std() + 1e-9)
    columns = np.clip(np.linspace(0, 5, bins), 0, 4.999)
    return _between(knots.T, columns).T


def _intonation(pitch: Curve, change: VoiceChange, rng: np.random.Generator) -> Curve:
    voiced = pitch > 0
    if not voiced.any():
        return pitch
    log_pitch = np.log(np.where(voiced, pitch, 1.0))
    walk = gaussian_filter1d(rng.normal(size=len(pitch)), 0.15 / _PERIOD_S)
    walk *= rng.uniform(0.05, 0.2) / (walk.std() + 1e-9)
    jitter = rng.normal(0, rng.uniform(0.002, 0.015), len(pitch))
    curve = (
        np.log(change.pitch_hz)
        + (log_pitch - log_pitch[voiced].mean()) * change.pitch_range
        + walk
        + jitter
    )
    return np.where(voiced, np.clip(np.exp(curve), 55, 600), 0.0)
