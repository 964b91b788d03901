"""Visemes with their times, by the viseme head of the service's own network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.inference.model_contract import read_model
from orchestrator.rendering.motion import VISEMES

NETWORK: Final = "audio2viseme"
WINDOW_FRAMES: Final = 88
WINDOW_STEPS: Final = 16
LOOK_AHEAD_FRAMES: Final = 6
"""Look-ahead of `model_repository/audio2viseme/config.pbtxt`.

16 steps of 10 ms for 88 mel frames, the last 6 of them look-ahead.
"""

STEP_MS: Final = 10.0
BATCH: Final = 16
NAMES: Final = tuple(VISEMES)
SILENCE: Final = "sil"

MIN_SOUND_STEPS: Final = 3
"""Least length of a sound; shorter ones are taken for errors and go to the likelier neighbour."""


@dataclass(frozen=True, slots=True)
class Phoneme:
    """One sound; sounds that look alike on the lips have one name (`PP` is p, b and m)."""

    phoneme: str
    start_ms: float
    """Time from the first sample of the input."""
    end_ms: float
    confidence: float
    """0..1: the network's mean probability over the sound."""


class PhonemeDetector:
    """Opens the network on first use; FileNotFoundError where it was not exported."""

    def __init__(self, model_repository: Path) -> None:
        self._config = model_repository / NETWORK / "config.pbtxt"
        self._model: Any = None

    def detect(self, mel: NDArray[np.float32], floor: float) -> list[Phoneme]:
        """Sounds of log-mel frames `[frames, 80]` in order, without the silences.

        `floor` is the logarithm of digital silence.
        """
        if self._model is None:
            contract = read_model(self._config)
            if not contract.present:
                raise FileNotFoundError(
                    f"{contract.file} is missing; make it with: python -m export audio2motion"
                )
            # imports ONNX Runtime, which sessions do without
            from orchestrator.inference.local.inference import (
                open_model,
            )

            self._model = open_model(contract)
        windows = mel_windows(mel, floor)
        answers = [
            self._model.run({"mel": windows[at : at + BATCH]})["visemes"]
            for at in range(0, len(windows), BATCH)
        ]
        return phonemes(np.concatenate(answers).reshape(-1, len(NAMES))[: len(mel)])


def mel_windows(mel: NDArray[np.float32], floor: float) -> NDArray[np.float32]:
    """Windows `[n, 88, 80]` whose consecutive steps are the frames of `mel`.

    Silence surrounds it.
    """
    before = WINDOW_FRAMES - LOOK_AHEAD_FRAMES - WINDOW_STEPS
    count = -(-len(mel) // WINDOW_STEPS)
    padded = np.full(
        (before + count * WINDOW_STEPS + LOOK_AHEAD_FRAMES, mel.shape[1]), floor, np.float32
    )
    padded[before : before + len(mel)] = mel
    starts = WINDOW_STEPS * np.arange(count)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_FRAMES, axis=0)[
        starts
    ].transpose(0, 2, 1)
    return np.ascontiguousarray(windows)


def phonemes(probabilities: NDArray[np.float32]) -> list[Phoneme]:
    """Sounds from probabilities `[steps, 15]`: stretches of the likeliest one.

    The shortest are given to their neighbours.
    """
    names = probabilities.argmax(axis=1)
    for begin, end in _stretches(names):
        if end - begin < MIN_SOUND_STEPS:
            neighbours = [int(names[at]) for at in (begin - 1, end) if 0 <= at < len(names)]
            if neighbours:
                names[begin:end] = max(
                    neighbours, key=lambda name: float(probabilities[begin:end, name].mean())
                )
    found = []
    for begin, end in _stretches(names):
        if NAMES[names[begin]] != SILENCE:
            confidence = float(probabilities[begin:end, names[begin]].mean())
            found.append(Phoneme(NAMES[names[begin]], STEP_MS * begin, STEP_MS * end, confidence))
    return found


def _stretches(names: NDArray[np.int64]) -> Sequence[tuple[int, int]]:
    """Beginnings and ends of equal neighbours."""
    if not len(names):
        return []
    edges = [0, *(np.flatnonzero(np.diff(names)) + 1).tolist(), len(names)]
    return list(pairwise(edges))
