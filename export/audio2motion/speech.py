"""Speech with known phone times: the output of every engine and the input of later steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ

PAUSE = "_"
"""The IPA-side symbol of silence."""


@dataclass(frozen=True, slots=True)
class Phone:
    """One phone in IPA (or `PAUSE`), in seconds from the start of its samples."""

    symbol: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """Samples at 16 kHz, -1..1, with phones that follow each other without gaps."""

    samples: NDArray[np.float32]
    phones: tuple[Phone, ...]
    engine: str
    voice: str
    language: str

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ


def contiguous(phones: list[Phone], duration_s: float) -> tuple[Phone, ...]:
    """The phones clipped to the samples, with pauses in the gaps, so that every instant has one."""
    filled: list[Phone] = []
    now_s = 0.0
    for phone in phones:
        start_s, end_s = max(phone.start_s, now_s), min(phone.end_s, duration_s)
        if end_s <= start_s:
            continue
        if start_s > now_s:
            filled.append(Phone(PAUSE, now_s, start_s))
        filled.append(Phone(phone.symbol, start_s, end_s))
        now_s = end_s
    if now_s < duration_s:
        filled.append(Phone(PAUSE, now_s, duration_s))
    return tuple(filled)


def joined(parts: list[Utterance], pauses_s: list[float]) -> Utterance:
    """The parts one after the other, with digital silence between them.

    `pauses_s[i]` comes before part i, the last one after all.
    """
    samples: list[NDArray[np.float32]] = []
    phones: list[Phone] = []
    count = 0
    for part, pause_s in zip([*parts, None], pauses_s, strict=True):
        samples.append(np.zeros(int(pause_s * SAMPLE_RATE_HZ), np.float32))
        count += len(samples[-1])
        if part is not None:
            shift_s = count / SAMPLE_RATE_HZ
            phones += [Phone(p.symbol, p.start_s + shift_s, p.end_s + shift_s) for p in part.phones]
            samples.append(part.samples)
            count += len(part.samples)
    first = parts[0]
    whole = np.concatenate(samples)
    return Utterance(
        whole, contiguous(phones, count / SAMPLE_RATE_HZ), first.engine, first.voice, first.language
    )
