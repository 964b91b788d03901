"""espeak says when a stop bursts and when a vowel is steady; lips need to know when the closure and
the vowel begin.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from export.audio2motion.espeak import corrected_times
from export.audio2motion.speech import PAUSE, Phone


def times_ms(*phones: tuple[str, float], rate_wpm: int = 160) -> list[float]:
    """Where each phone begins after the correction, given the phones and their lengths in ms."""
    spoken, now_s = [], 0.0
    for symbol, length_ms in phones:
        spoken.append(Phone(symbol, now_s, now_s + length_ms / 1000))
        now_s += length_ms / 1000
    heard = corrected_times(spoken, rate_wpm)
    assert all(a.end_s == b.start_s for a, b in pairwise(heard))
    assert heard[-1].end_s == now_s
    return [round(phone.start_s * 1000, 1) for phone in heard]


def test_a_voiceless_stop_begins_with_its_closure() -> None:
    assert times_ms(("a", 200), ("p", 40), (PAUSE, 100)) == [0, 158, 240]


@pytest.mark.parametrize(("rate_wpm", "closure_ms"), [(120, 56), (210, 32)])
def test_closures_are_longer_in_slow_speech(rate_wpm: int, closure_ms: float) -> None:
    assert times_ms(("a", 200), ("tʃ", 90), ("s", 100), rate_wpm=rate_wpm)[1] == 200 - closure_ms


def test_a_vowel_begins_where_the_consonant_lets_go() -> None:
    assert times_ms(("a", 200), ("m", 90), ("a", 100)) == [0, 200, 268]
    assert times_ms(("a", 200), ("s", 90), ("a", 100)) == [0, 200, 290]


def test_short_neighbours_keep_their_place() -> None:
    assert times_ms(("ə", 30), ("p", 40), (PAUSE, 100))[1] == 15
    assert times_ms(("a", 200), ("b", 30), ("a", 100))[2] == 220
