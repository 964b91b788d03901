"""Lip gap of each phone by rule: the reference for rendered mouths.

The rules follow articulatory phonetics (jaw height of vowels, place of consonants). They are
independent of the training targets, so that a mistake in those does not hide here.
"""

# ruff: noqa: RUF001  (IPA letters look like Latin ones)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]

RATE_HZ: Final = 1000
"""Samples per second of every curve here."""

_OPENNESS: Final = {
    "æaɑɒɐ": 1.0,
    "ʌɛɔɜɞœ": 0.7,
    "əeɝɚɘɤoø": 0.5,
    "ɪiɨyʏᵻ": 0.35,
    "ʊuʉɯ": 0.28,
    "kɡgŋxɣqχʁcɟj": 0.35,
    "lrɾɹɻɫʎ": 0.3,
    "tdnsɲθðzʃʒɕʑʂʐʈɖɳç": 0.22,
    "wɥ": 0.15,
    "fvʋ": 0.1,
}
_OPENNESS_OF: Final = {letter: value for letters, value in _OPENNESS.items() for letter in letters}
_LIPS_SHUT: Final = frozenset("pbmɓ")
_TAKES_THE_NEXT_VOWELS_SHAPE: Final = frozenset("hɦʔħ")
_UNKNOWN: Final = 0.4

_OPENING_SPAN_MS: Final = 110
"""Length of the raised-cosine window that smooths the steps: jaws move at about 5 Hz."""
_SHUTTING_SPAN_MS: Final = 60
"""Length of the window for closures: lips move faster than the jaw."""
_SHUTTING_GAIN: Final = 1.4
"""Gain after smoothing, so that a closure of 40 ms still shuts the lips fully."""
_JOINT_S: Final = 0.08
"""Pauses shorter than this are joints between words, during which the lips move on."""
_PAUSE_S: Final = 0.1
"""Pauses from this length on are not speech."""


class TimedPhone(Protocol):
    """An IPA phone with its times in seconds; pauses hold no letter."""

    @property
    def symbol(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class TrueMouth:
    """Lips during one clip, sampled at 1 kHz, and the times at which they must be shut."""

    opening: Curve
    """Gap that jaw and lips aim at, 0..1, without closures."""
    shut: Curve
    """Pressure of the lips on each other, 0..1."""
    is_speech: NDArray[np.bool_]
    closures_s: tuple[float, ...]
    """Middles of the phones p, b and m, in seconds."""
    speech_end_s: float

    @property
    def aperture(self) -> Curve:
        """The visible gap, 0..1."""
        return self.opening * (1.0 - self.shut)

    def at(self, times_s: Curve, curve: Curve) -> Curve:
        """Values of a curve of this mouth at `times_s`."""
        return np.interp(times_s, np.arange(len(curve)) / RATE_HZ, curve)

    def speaks_at(self, times_s: Curve) -> NDArray[np.bool_]:
        """True where there is speech at `times_s`."""
        index = np.clip(np.round(times_s * RATE_HZ).astype(int), 0, len(self.is_speech) - 1)
        speaks: NDArray[np.bool_] = self.is_speech[index]
        return speaks


def true_mouth(phones: Sequence[TimedPhone], duration_s: float) -> TrueMouth:
    """The mouth of a clip whose phones are known."""
    count = round(duration_s * RATE_HZ)
    opening, shut, is_speech = np.zeros(count), np.zeros(count), np.zeros(count, np.bool_)
    closures, end_s = [], 0.0
    for letter, begin_s, stop_s, following in _letters(phones):
        span = slice(round(begin_s * RATE_HZ), round(stop_s * RATE_HZ))
        is_pause = not letter
        opening[span] = 0.0 if is_pause else _openness(letter, following)
        is_speech[span] = not is_pause or stop_s - begin_s < _PAUSE_S
        if letter in _LIPS_SHUT:
            shut[span] = 1.0
            closures.append((begin_s + stop_s) / 2)
        end_s = end_s if is_pause else stop_s
    return TrueMouth(
        opening=_smoothed(_bridged(opening, phones), _OPENING_SPAN_MS),
        shut=np.clip(_SHUTTING_GAIN * _smoothed(shut, _SHUTTING_SPAN_MS), 0.0, 1.0),
        is_speech=is_speech,
        closures_s=tuple(closures),
        speech_end_s=end_s,
    )


def _letters(phones: Sequence[TimedPhone]) -> list[tuple[str, float, float, str]]:
    """Every IPA letter with its start and end in seconds and the next letter; a pause is empty."""
    flat: list[tuple[str, float, float]] = []
    for phone in phones:
        letters = [
            c
            for c in phone.symbol
            if c in _OPENNESS_OF or c in _LIPS_SHUT or c in _TAKES_THE_NEXT_VOWELS_SHAPE
        ]
        if not letters:
            letters = [""] if not any(c.isalpha() for c in phone.symbol) else ["?"]
        step = (phone.end_s - phone.start_s) / len(letters)
        flat += [
            (letter, phone.start_s + i * step, phone.start_s + (i + 1) * step)
            for i, letter in enumerate(letters)
        ]
    following = [letter for letter, _, _ in flat[1:]] + [""]
    return [(*item, after) for item, after in zip(flat, following, strict=True)]


def _openness(letter: str, following: str) -> float:
    if letter in _LIPS_SHUT:
        return 0.25  # the jaw; `shut` closes the lips over it
    if letter in _TAKES_THE_NEXT_VOWELS_SHAPE:
        return _OPENNESS_OF.get(following, _UNKNOWN)
    return _OPENNESS_OF.get(letter, _UNKNOWN)


def _bridged(opening: Curve, phones: Sequence[TimedPhone]) -> Curve:
    """Interpolate the opening across the joints between words."""
    bridged = opening.copy()
    for phone in phones:
        begin, stop = round(phone.start_s * RATE_HZ), round(phone.end_s * RATE_HZ)
        is_joint = (
            not any(c.isalpha() for c in phone.symbol) and phone.end_s - phone.start_s < _JOINT_S
        )
        if is_joint and 0 < begin < stop < len(opening):
            bridged[begin:stop] = np.linspace(opening[begin - 1], opening[stop], stop - begin)
    return bridged


def _smoothed(steps: Curve, span_ms: int) -> Curve:
    window = np.hanning(span_ms + 2)[1:-1]
    return np.convolve(
        np.pad(steps, span_ms // 2, mode="edge"), window / window.sum(), mode="same"
    )[span_ms // 2 : -(span_ms // 2)]
