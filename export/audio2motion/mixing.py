"""Training batches: speech with noise, level, colour and turn edges drawn anew every time.

Mixed in the mel domain.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from export.audio2motion.corpus import NOT_SPEECH
from export.audio2motion.network import CONTEXT_FRAMES
from export.audio2motion.serving import LOOK_AHEAD_FRAMES
from export.audio2motion.speech import Phone
from export.audio2motion.targets import VISEME_NAMES, Targets, targets_of
from orchestrator.audio.features.log_mel import MelSpec

OUTPUTS: Final = 194
CROP_FRAMES: Final = OUTPUTS + CONTEXT_FRAMES
NEGATIVE_SHARE: Final = 0.36
"""Share of crops without speech."""
_BANDS: Final = MelSpec().n_mels
_FLOOR: Final = float(np.log(MelSpec().log_floor))
_FULL_SCALE_MEL_POWER: Final = 4.6
"""Mel power of white noise at 0 dB of full scale, roughly the same in all bands."""
_BILABIAL: Final = VISEME_NAMES.index("PP")
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: `mel [n, CROP_FRAMES, 80]`, and targets per output frame.

    `mouth [n, OUTPUTS, 7]`, `viseme [n, OUTPUTS]`, `bilabial [n, OUTPUTS]`.
    """

    mel: Array
    mouth: Array
    viseme: NDArray[np.int64]
    bilabial: Array


class Mixer:
    """All blocks of a folder in memory, and the random generator that draws batches from them."""

    def __init__(
        self,
        folder: Path,
        engines: tuple[str, ...],
        seed: int,
        ahead_frames: int = LOOK_AHEAD_FRAMES,
    ) -> None:
        paths = [path for engine in engines for path in _blocks(folder, engine)]
        if not paths:
            raise FileNotFoundError(f"no blocks of {', '.join(engines)} in {folder}")
        loaded = [_load_speech(path) for path in paths]
        self._mel = np.concatenate([mel for mel, _ in loaded])
        self._mouth = np.concatenate(
            [t.mouth.astype(np.float16) for _, targets in loaded for t in targets]
        )
        self._viseme = np.concatenate([t.viseme for _, targets in loaded for t in targets])
        # crowds are made of espeak voices
        kinds = NOT_SPEECH if "espeak" in engines else NOT_SPEECH[:-1]
        self._noise = [
            np.concatenate([np.load(path)["mel"] for path in _blocks(folder, kind)])
            for kind in kinds
        ]
        behind = CONTEXT_FRAMES - ahead_frames
        self._outputs = slice(behind, behind + OUTPUTS)
        self._rng = np.random.default_rng(seed)
        self._hiss = self._rng.gamma(3.0, 1 / 3.0, 4_000_000).astype(np.float32)

    @property
    def speech_hours(self) -> float:
        return len(self._mel) / 360_000

    def batch(self, count: int) -> Batch:
        """Crops of speech in varied conditions.

        A share of them has no speech and a shut mouth as target.
        """
        rng = self._rng
        at = rng.integers(0, len(self._mel) - CROP_FRAMES, count)[:, None] + np.arange(CROP_FRAMES)
        middle = at[:, self._outputs]
        mouth, viseme = (
            self._mouth[middle].astype(np.float32),
            self._viseme[middle].astype(np.int64),
        )
        negative = rng.random(count) < NEGATIVE_SHARE
        mouth[negative], viseme[negative] = 0.0, 0
        power = self._sound(self._mel[at].astype(np.float32), negative)
        mel = np.log(np.maximum(power, MelSpec().log_floor))
        self._with_edges(mel, mouth, viseme)
        return Batch(mel, mouth, viseme, (viseme == _BILABIAL).astype(np.float32))

    def _sound(self, speech: Array, negative: NDArray[np.bool_]) -> Array:
        """Power of speech and noise in a room, at a random level; a negative has no speech."""
        rng, count = self._rng, len(speech)
        voice = np.exp(speech + _colour(speech, rng))
        noise = self._noises(count)
        down_db = np.where(rng.random(count) < 0.6, rng.uniform(0, 28, count), 200.0)
        ratio = _loudness(voice) / _loudness(noise) * 10 ** (-down_db / 10)
        noise *= np.where(negative, 10 ** rng.uniform(-1, 1, count), ratio)[:, None, None].astype(
            np.float32
        )
        voice[negative] = 0.0
        gain = 10 ** (rng.uniform(-24, 14, (count, 1, 1)) / 10)
        power: Array = (voice + noise) * gain.astype(np.float32) * self._telephone(
            count
        ) + self._room(count)
        return power

    def _noises(self, count: int) -> Array:
        """Power of random crops of noise, music and crowds.

        Each has a random frequency response.
        """
        rng, crops = self._rng, []
        shares = np.array((0.22, 0.65, 0.13))[: len(self._noise)]
        for kind in rng.choice(len(self._noise), count, p=shares / shares.sum()):
            start = rng.integers(0, len(self._noise[kind]) - CROP_FRAMES)
            crops.append(self._noise[kind][start : start + CROP_FRAMES])
        mel = np.stack(crops).astype(np.float32)
        power: Array = np.exp(mel + _colour(mel, rng))
        return power

    def _telephone(self, count: int) -> Array:
        """Gain `[n, 1, 80]` of a sharp band limit for a quarter of the crops.

        As low sampling rates and telephones have.
        """
        rng, gain = self._rng, np.ones((count, _BANDS), np.float32)
        for row in np.flatnonzero(rng.random(count) < 0.25):
            gain[row, int(rng.choice([57, 58, 60, 62, int(rng.integers(55, 78))])) :] = (
                10 ** -rng.uniform(2, 9)
            )
            gain[row, : int(rng.choice([0, int(rng.integers(0, 7))]))] *= 10 ** -rng.uniform(1, 4)
        return gain[:, None, :]

    def _room(self, count: int) -> Array:
        """Faint steady noise for two thirds of the crops, as of every microphone.

        Digital silence for the rest.
        """
        rng = self._rng
        level = (
            np.where(rng.random(count) < 0.66, 10 ** rng.uniform(-9.5, -5.0, count), 0.0)
            * _FULL_SCALE_MEL_POWER
        )
        slope = np.exp(np.linspace(1, 0, _BANDS)[None] * rng.uniform(0, 3, (count, 1)))
        size = count * CROP_FRAMES * _BANDS
        start = rng.integers(0, len(self._hiss) - size)
        hiss = self._hiss[start : start + size].reshape(count, CROP_FRAMES, _BANDS)
        power: Array = hiss * (level[:, None] * slope).astype(np.float32)[:, None, :]
        return power

    def _with_edges(self, mel: Array, mouth: Array, viseme: NDArray[np.int64]) -> None:
        """The crops with the start or the end of a turn inside some of them.

        Digital silence lies beyond it, with the mouth shut.
        """
        rng = self._rng
        for row in np.flatnonzero(rng.random(len(mel)) < 0.2):
            edge = int(rng.integers(0, CROP_FRAMES))
            beyond = (
                np.arange(CROP_FRAMES) < edge
                if rng.random() < 0.5
                else np.arange(CROP_FRAMES) >= edge
            )
            mel[row, beyond] = _FLOOR
            shut = beyond[self._outputs]
            mouth[row, shut], viseme[row, shut] = 0.0, 0


def _blocks(folder: Path, kind: str) -> list[Path]:
    return [path for path in sorted(folder.glob(f"{kind}-*.npz")) if ".part" not in path.name]


def _load_speech(path: Path) -> tuple[NDArray[np.float16], list[Targets]]:
    """A block's features, and the targets of its clips one after the other."""
    with np.load(path) as block:
        mel, clips = block["mel"], json.loads(block["clips"].tobytes())
    return mel, [
        targets_of([Phone(*phone) for phone in phones], frames) for frames, _, _, phones in clips
    ]


def _loudness(power: Array) -> Array:
    """Power of each crop's loud frames `[n]`."""
    frames = power[:, ::4].sum(axis=2)
    loud: Array = np.partition(frames, int(0.8 * frames.shape[1]), axis=1)[
        :, int(0.8 * frames.shape[1])
    ]
    return loud + 1e-12


def _colour(mel: Array, rng: np.random.Generator) -> Array:
    """A smooth random frequency response per crop, in nepers of power `[n, 1, 80]`.

    4 dB (standard deviation).
    """
    knots = rng.normal(0, 4.0 * np.log(10) / 10, (len(mel), 7))
    columns = np.linspace(0, 5.999, _BANDS)
    low = columns.astype(int)
    curve = knots[:, low] * (1 - (columns - low)) + knots[:, low + 1] * (columns - low)
    return curve[:, None, :].astype(np.float32)
