"""Sounds for the lip-sync check: speech with known phone times, music and room noise.

The network was not trained on these voices.
"""

# ruff: noqa: RUF001  (Russian letters look like Latin ones)

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.true_mouth import Curve, TrueMouth, true_mouth
from export.audio2motion import espeak, flite
from export.audio2motion.speech import Utterance, joined
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.types import Samples

_LEAD_S: Final = 0.5
_TAIL_S: Final = 1.2
"""Silence before (`_LEAD_S`) and after each clip, in which the mouth must rest and shut."""

_ENGLISH: Final = (
    "My brother Bob bought a map of the harbour before he moved to Boston. Maybe he will come "
    "back.",
    "Would you open the window, please? The air in here is awfully warm.",
    "Five thousand people marched past the palace, singing and shouting.",
    "She saw seven small ships sail away, one by one, over the blue bay.",
    "Papa keeps an apple pie, some plums and a lump of butter for company.",
    "How far away do you live? About an hour by bus, but I prefer to walk.",
)
_RUSSIAN: Final = (
    "Мама мыла раму, а папа читал большую книгу о море.",
    "Вы можете открыть окно? Здесь очень тепло, поэтому я пойду домой.",
)
_SLT, _KAL, _F4, _M7, _LINDA = (
    ("flite", "slt"),
    ("flite", "kal16"),
    ("en-us", "f4"),
    ("ru", "m7"),
    ("ru", "linda"),
)
_CLIPS: Final = (
    (_SLT, _ENGLISH[0]), (_SLT, _ENGLISH[1]), (_SLT, _ENGLISH[2]), (_F4, _ENGLISH[4]),
    (_M7, _RUSSIAN[0]), (_KAL, _ENGLISH[5]),
    (_SLT, _ENGLISH[3]), (_SLT, _ENGLISH[4]), (_SLT, _ENGLISH[5]), (_LINDA, _RUSSIAN[1]),
    (_KAL, _ENGLISH[0]), (_F4, _ENGLISH[1]),
)  # fmt: skip
"""Voice and text, the most informative first; training uses neither flite nor these variants."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Sound at 16 kHz and the mouth that makes it; None for sound that is not speech."""

    name: str
    samples: Samples
    mouth: TrueMouth | None


def speech_clips(most: int) -> list[Clip]:
    """The first `most` clips; FileNotFoundError naming the packages when an engine is missing."""
    missing = [*flite.missing(), *espeak.missing()]
    if missing:
        raise FileNotFoundError(f"speech engines are missing: apt-get install {' '.join(missing)}")
    return [
        _clip(f"{number} {' '.join(voice)}", _spoken(voice, text))
        for number, (voice, text) in enumerate(_CLIPS[:most], 1)
    ]


def music_clip(seconds: float = 8.0, seed: int = 3) -> Clip:
    """A band of plain oscillators: chords, a melody with vibrato, bass and drums. No voice."""
    rng, t = (
        np.random.default_rng(seed),
        np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ,
    )
    beat = np.floor(t * 2.0).astype(int)
    fade = np.exp(-3.0 * (t * 2.0 % 1.0))
    roots = np.array([220.0, 174.6, 261.6, 196.0])[beat // 4 % 4]
    chord = np.sum([_string(roots * ratio) for ratio in (1.0, 1.26, 1.5)], axis=0)
    melody = _string(
        roots
        * 2.0 ** (rng.integers(0, 12, beat.max() + 1)[beat] / 12)
        * 2
        * (1 + 0.006 * np.sin(2 * np.pi * 5.5 * t))
    )
    drums = rng.standard_normal(len(t)) * np.exp(-25.0 * (t * 4.0 % 1.0))
    mix = 0.3 * chord + 0.8 * melody * fade + _string(roots / 2) + 0.25 * drums
    return Clip("music", (0.2 * mix / np.abs(mix).std() / 3).astype(np.float32).clip(-1, 1), None)


def noise_clip(seconds: float = 4.0, seed: int = 4) -> Clip:
    """Noise of a room with a fan, at -40 dB of full scale."""
    rng = np.random.default_rng(seed)
    brown = np.cumsum(rng.standard_normal(round(seconds * SAMPLE_RATE_HZ)))
    rumble = brown - np.convolve(brown, np.ones(400) / 400, mode="same")
    return Clip(
        "room noise",
        (0.01 * rumble / rumble.std() + 0.002 * rng.standard_normal(len(brown))).astype(np.float32),
        None,
    )


def _spoken(voice: tuple[str, str], text: str) -> Utterance:
    engine, variant = voice
    if engine == "flite":
        return flite.say(variant, text)
    said = espeak.load().say(text, engine, variant, rate_wpm=160, pitch=50, pitch_range=50)
    if said is None:
        raise FileNotFoundError(f"espeak-ng has no voice {engine}+{variant}")
    return said


def _string(hz: Curve) -> Curve:
    phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE_HZ
    return sum((np.sin(k * phase) / k**1.5 for k in range(1, 9)), np.zeros(len(hz)))


def _clip(name: str, spoken: Utterance) -> Clip:
    whole_s = math.ceil(
        _LEAD_S + spoken.duration_s + _TAIL_S
    )  # so that joined clips begin on a frame at any frame rate
    framed = joined([spoken], [_LEAD_S, whole_s - _LEAD_S - spoken.duration_s])
    samples = np.zeros(whole_s * SAMPLE_RATE_HZ, np.float32)
    samples[: len(framed.samples)] = framed.samples[: len(samples)]
    return Clip(name, samples, true_mouth(framed.phones, whole_s))
