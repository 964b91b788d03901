"""What the engines are made to say in training: every blank is filled, and no sentence of the
judging is among it.
"""

from __future__ import annotations

import numpy as np
import pytest

from export.audio2motion import texts


def test_phrases_and_written_sentences_have_nothing_in_common() -> None:
    phrases = texts._phrases()
    assert len(set(phrases)) == len(phrases) > 50
    assert all("_" in phrase for phrase in phrases)
    written = " ".join(texts.written_sentences()).lower()
    assert not any(phrase.replace("_", "").strip().lower() in written for phrase in phrases)


def test_blanks_are_filled_with_words() -> None:
    pytest.importorskip("wordfreq", reason="wordfreq (the export extra) is not installed")
    rng = np.random.default_rng(1)
    said = [texts.sentence("en", rng) for _ in range(50)]
    assert not any("_" in text for text in said)
    assert len(set(said)) == 50
    assert not set(said) & set(texts.written_sentences())
