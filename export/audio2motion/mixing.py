"""Training batches: crops of speech with noise, level, colour and turn edges drawn anew every time, in the mel domain."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from export.audio2motion.network import BEHIND_FRAMES, CONTEXT_FRAMES, LOOK_AHEAD_FRAMES
from export.audio2motion.speech import Phone
from export.audio2motion.targets import Targets, targets_of
from orchestrator.audio.mel import MelSpec

OUTPUTS: Final = 194
CROP_FRAMES: Final = OUTPUTS + CONTEXT_FRAMES
_NEPER_PER_DB: Final = float(np.log(10) / 10)
"""Natural logarithm of power, per decibel."""
_FLOOR: Final = float(np.log(MelSpec().log_floor))
_FULL_SCALE: Final = 2.6
"""Loudest tenth of the bands' mean log power of speech at 0 dB of full scale, roughly."""
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """`mel [n, CROP_FRAMES, 80]`; per output frame `mouth [n, OUTPUTS, 7]`, `viseme [n, OUTPUTS]`, `bilabial [n, OUTPUTS]`."""

    mel: Array
    mouth: Array
    viseme: NDArray[np.int64]
    bilabial: Array


class Mixer:
    """All blocks of a folder in memory, and the random generator that draws batches from them."""

    def __init__(self, folder: Path, engines: tuple[str, ...], seed: int) -> None:
        paths = [path for engine in engines for path in _blocks(folder, engine)]
        if not paths:
            raise FileNotFoundError(f"no blocks of {', '.join(engines)} in {folder}")
        loaded = [_load_speech(path) for path in paths]
        self._mel = np.concatenate([mel for mel, _ in loaded])
        self._mouth = np.concatenate([t.mouth.astype(np.float16) for _, targets in loaded for t in targets])
        self._viseme = np.concatenate([t.viseme for _, targets in loaded for t in targets])
        self._noise = [_load_noise(folder, kind) for kind in ("noise", "music", "babble")]
        self._rng = np.random.default_rng(seed)

    @property
    def speech_hours(self) -> float:
        return len(self._mel) / 360_000

    def batch(self, count: int, *, negative_share: float = 0.14) -> Batch:
        """Crops of speech in varied conditions; a share of them has no speech in it and asks for a shut mouth."""
        rng = self._rng
        at = rng.integers(0, len(self._mel) - CROP_FRAMES, count)[:, None] + np.arange(CROP_FRAMES)
        mel = self._mel[at].astype(np.float32)
        middle = at[:, BEHIND_FRAMES : CROP_FRAMES - LOOK_AHEAD_FRAMES]
        mouth, viseme = self._mouth[middle].astype(np.float32), self._viseme[middle].astype(np.int64)
        bilabial = (viseme == 1).astype(np.float32)
        negative = rng.random(count) < negative_share
        mel[negative] = _FLOOR
        for row in np.flatnonzero(negative):
            mouth[row], viseme[row], bilabial[row] = 0.0, 0, 0.0
        mel += _colour(mel, rng)
        mel = self._with_noise(mel, negative)
        mel += rng.uniform(-24, 14, (count, 1, 1)).astype(np.float32) * _NEPER_PER_DB
        _with_room(mel, rng)
        self._with_edges(mel, mouth, viseme, bilabial)
        return Batch(np.maximum(mel, _FLOOR), mouth, viseme, bilabial)

    def _with_noise(self, mel: Array, negative: NDArray[np.bool_]) -> Array:
        """Adds noise power to power; two noises to a negative crop now and then."""
        rng = self._rng
        for row in range(len(mel)):
            if not negative[row] and rng.random() < 0.4:
                continue
            noise = self._noise_crop()
            noise += _colour(noise[None], rng)[0]
            if negative[row]:
                mel[row] = noise + rng.uniform(-10, 10) * _NEPER_PER_DB
            else:
                down = (_loudness(mel[row]) - _loudness(noise)) - rng.uniform(0, 28) * _NEPER_PER_DB
                mel[row] = np.logaddexp(mel[row], noise + down)
        return mel

    def _noise_crop(self) -> Array:
        rng = self._rng
        source = self._noise[rng.choice(3, p=(0.38, 0.42, 0.2))]
        start = rng.integers(0, len(source) - CROP_FRAMES)
        crop: Array = source[start : start + CROP_FRAMES].astype(np.float32)
        return crop

    def _with_edges(self, mel: Array, mouth: Array, viseme: NDArray[np.int64], bilabial: Array) -> None:
        """The start or the end of a turn inside some crops: digital silence beyond it, and the mouth shut there."""
        rng = self._rng
        for row in np.flatnonzero(rng.random(len(mel)) < 0.2):
            edge = int(rng.integers(0, CROP_FRAMES))
            beyond = np.arange(CROP_FRAMES) < edge if rng.random() < 0.5 else np.arange(CROP_FRAMES) >= edge
            mel[row, beyond] = _FLOOR
            shut = beyond[BEHIND_FRAMES : CROP_FRAMES - LOOK_AHEAD_FRAMES]
            mouth[row, shut], viseme[row, shut], bilabial[row, shut] = 0.0, 0, 0.0


def _blocks(folder: Path, kind: str) -> list[Path]:
    return [path for path in sorted(folder.glob(f"{kind}-*.npz")) if ".part" not in path.name]


def _load_speech(path: Path) -> tuple[NDArray[np.float16], list[Targets]]:
    """A block's features, and the targets of its clips one after the other."""
    with np.load(path) as block:
        mel, clips = block["mel"], json.loads(block["clips"].tobytes())
    return mel, [targets_of([Phone(*phone) for phone in phones], frames) for frames, _, _, phones in clips]


def _load_noise(folder: Path, kind: str) -> NDArray[np.float16]:
    return np.concatenate([np.load(path)["mel"] for path in _blocks(folder, kind)])


def _loudness(mel: Array) -> float:
    """Log power of a crop's loud frames."""
    return float(np.quantile(np.logaddexp.reduce(mel[::4], axis=1), 0.8))


def _colour(mel: Array, rng: np.random.Generator) -> Array:
    """A smooth random frequency response per crop, +-4 dB (standard deviation), `[n, 1, 80]`."""
    knots = rng.normal(0, 4.0 * _NEPER_PER_DB, (len(mel), 7))
    columns = np.linspace(0, 5.999, mel.shape[2])
    low = columns.astype(int)
    curve = knots[:, low] * (1 - (columns - low)) + knots[:, low + 1] * (columns - low)
    return curve[:, None, :].astype(np.float32)


def _with_room(mel: Array, rng: np.random.Generator) -> None:
    """Faint steady noise under two thirds of the crops, as every microphone has; the rest keeps digital silence."""
    for row in np.flatnonzero(rng.random(len(mel)) < 0.66):
        level = _FULL_SCALE + rng.uniform(-95, -50) * _NEPER_PER_DB
        hiss = level + rng.gumbel(0, 0.4, mel[row].shape) + np.linspace(rng.uniform(0, 3), 0, mel.shape[2])
        mel[row] = np.logaddexp(mel[row], hiss.astype(np.float32))
