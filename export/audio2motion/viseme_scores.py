"""Accuracy of the viseme head on unseen voices, texts and variants, for the model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.audio2motion import channel
from export.audio2motion.evaluation import TestSpeech
from export.audio2motion.speech import Utterance
from export.audio2motion.targets import targets_of
from orchestrator.audio.features.log_mel import MelSpec, log_mel
from orchestrator.audio.features.visemes import NAMES, SILENCE, STEP_MS, PhonemeDetector
from orchestrator.core.paths import MODEL_REPOSITORY


@dataclass(frozen=True, slots=True)
class VisemeScore:
    """Shares of 10 ms steps that have the right one of fifteen names."""

    name: str
    clips: int
    all_steps: float
    speech_steps: float


def scores(sets: Sequence[TestSpeech]) -> list[VisemeScore]:
    """A score for each set, by the committed network as in `detect_phonemes`."""
    detector = PhonemeDetector(MODEL_REPOSITORY)
    return [_score(detector, speech) for speech in sets]


def as_markdown(found: Sequence[VisemeScore]) -> str:
    """The scores as a table of the model card."""
    rows = [
        f"| {score.name} | {score.clips} | {score.all_steps:.2f} | {score.speech_steps:.2f} |"
        for score in found
    ]
    return "\n".join(
        ("| phonemes | clips | right steps | right steps in speech |", "|---|---|---|---|", *rows)
    )


def _score(detector: PhonemeDetector, speech: TestSpeech) -> VisemeScore:
    pairs = [_steps(detector, utterance) for utterance in speech.utterances]
    told, true = (np.concatenate(side) for side in zip(*pairs, strict=True))
    spoken = true != NAMES.index(SILENCE)
    return VisemeScore(
        speech.name, len(pairs), float((told == true).mean()), float((told == true)[spoken].mean())
    )


def _steps(
    detector: PhonemeDetector, utterance: Utterance
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The predicted and the true viseme of every step."""
    spec = MelSpec()
    mel = log_mel(channel.level(utterance.samples, -26.0).astype(np.float32), spec)
    told = np.full(len(mel), NAMES.index(SILENCE))
    for sound in detector.detect(mel, float(np.log(spec.log_floor))):
        told[round(sound.start_ms / STEP_MS) : round(sound.end_ms / STEP_MS)] = NAMES.index(
            sound.phoneme
        )
    return told, targets_of(utterance.phones, len(mel)).viseme.astype(np.int64)
