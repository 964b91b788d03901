"""Texts for the engines: random sentences of frequent words to train, written ones to judge."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np

LANGUAGES: Final = {
    "en": ("en-us", "en", "en-us", "en-gb-scotland", "en-029", "en-gb-x-rp"), "ru": ("ru",),
    "fr": ("fr",), "es": ("es", "es-419"),
    "it": ("it",), "de": ("de",), "pt": ("pt", "pt-br"), "nl": ("nl",), "pl": ("pl",),
    "cs": ("cs",), "sv": ("sv",), "fi": ("fi",),
    "tr": ("tr",), "uk": ("uk",), "hu": ("hu",), "el": ("el",), "ro": ("ro",), "ca": ("ca",),
    "da": ("da",), "nb": ("nb",),
    "bg": ("bg",), "sh": ("hr", "sr"), "sk": ("sk",), "sl": ("sl",), "lt": ("lt",), "lv": ("lv",),
    "mk": ("mk",), "is": ("is",),
    "hi": ("hi",), "bn": ("bn",), "ta": ("ta",), "ur": ("ur",), "fa": ("fa",), "ar": ("ar",),
    "id": ("id",), "ms": ("ms",),
    "vi": ("vi",), "ko": ("ko",),
}  # fmt: skip
"""Word list (as `wordfreq` names it) -> espeak voices of the language.

Japanese and Chinese writing needs more than espeak brings.
"""
LANGUAGE_WEIGHTS: Final = {"en": 45.0, "ru": 5.0, "fr": 3.0, "es": 3.0, "it": 3.0, "de": 3.0}
"""Weight of a language in the draw; 1 where not named."""
_WORDS: Final = 12_000
_PHRASED_SHARE: Final = 0.7
"""Share of English sentences that are phrases rather than lists of words."""
_JOINING_WORDS: Final = (", ", " and ", ", and ", ", but ", ", that ", " as ", ". ")


@lru_cache(maxsize=64)
def _vocabulary(language: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The language's frequent words and the square root of their frequencies.

    Rarer words thus occur more often than in real speech.
    """
    import wordfreq

    table = wordfreq.get_frequency_dict(language, wordlist="best")
    words = [
        word
        for word in sorted(table, key=lambda w: (-table[w], w))[:_WORDS]
        if word.isalpha() or "'" in word
    ]
    weights = np.sqrt([table[word] for word in words])
    return tuple(words), tuple(np.cumsum(weights / weights.sum()).tolist())


def sentence(language: str, rng: np.random.Generator) -> str:
    """Random words, in English mostly with the short words that connect natural speech.

    Speakers pronounce those carelessly.
    """
    return (
        phrase(rng)
        if language == "en" and rng.random() < _PHRASED_SHARE
        else word_list(language, rng)
    )


def phrase(rng: np.random.Generator) -> str:
    """One or two English phrases, their blanks filled with random words."""
    words, cumulative = _vocabulary("en")
    parts = [str(rng.choice(_phrases())) for _ in range(rng.integers(1, 3))]
    text = str(rng.choice(_JOINING_WORDS)).join(parts)
    for _ in range(text.count("_")):
        text = text.replace("_", _word(words, cumulative, rng), 1)
    return text + str(rng.choice([".", ".", "?", "!"]))


def word_list(language: str, rng: np.random.Generator) -> str:
    """Three to nine words of the language in random order, sometimes with a comma."""
    words, cumulative = _vocabulary(language)
    chosen = [_word(words, cumulative, rng) for _ in range(rng.integers(3, 10))]
    if len(chosen) > 5 and rng.random() < 0.4:
        chosen[len(chosen) // 2 - 1] += ","
    return " ".join(chosen) + rng.choice([".", ".", "?", "!"])


def _word(words: tuple[str, ...], cumulative: tuple[float, ...], rng: np.random.Generator) -> str:
    return words[min(int(np.searchsorted(cumulative, rng.random())), len(words) - 1)]


def any_language(rng: np.random.Generator) -> str:
    """A language drawn by `LANGUAGE_WEIGHTS`."""
    weights = np.array([LANGUAGE_WEIGHTS.get(language, 1.0) for language in LANGUAGES])
    return str(rng.choice(list(LANGUAGES), p=weights / weights.sum()))


@lru_cache(maxsize=1)
def _phrases() -> tuple[str, ...]:
    return tuple(
        files("export.audio2motion").joinpath("phrases.txt").read_text("utf-8").splitlines()
    )


@lru_cache(maxsize=1)
def written_sentences() -> tuple[str, ...]:
    """English sentences written for judging; none is ever trained on."""
    text = files("export.audio2motion").joinpath("sentences.txt").read_text("utf-8")
    return tuple(line for line in text.splitlines() if line)
