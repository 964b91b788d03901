"""From phones to lips: every phone set is spelled in visemes, and the curves shut and open where
they must.
"""

# ruff: noqa: RUF001 - IPA letters look like others, and are meant
from __future__ import annotations

import numpy as np
import pytest

from export.audio2motion import phones
from export.audio2motion.metrics import score_clip, total
from export.audio2motion.speech import PAUSE, Phone, Utterance, contiguous, joined
from export.audio2motion.targets import VISEME_NAMES, bilabial_times_s, targets_of
from orchestrator.rendering.motion import CLOSED, OPEN, ROUND, VISEMES, aperture


def said(*symbols: str, each_s: float = 0.08) -> tuple[Phone, ...]:
    """Half a second of pause, the phones one after the other, half a second of pause."""
    middle = [
        Phone(symbol, 0.5 + i * each_s, 0.5 + (i + 1) * each_s) for i, symbol in enumerate(symbols)
    ]
    return contiguous(middle, 1.0 + each_s * len(symbols))


def curves(*symbols: str) -> np.ndarray:
    spoken = said(*symbols)
    return targets_of(spoken, round(spoken[-1].end_s * 100)).mouth


@pytest.mark.parametrize(
    "alphabet", [phones.ARPABET, phones.CZECH, phones.FINNISH, phones.ITALIAN, phones.CATALAN]
)
def test_every_phone_of_every_phone_set_has_a_known_viseme(alphabet: dict[str, str]) -> None:
    for symbol, ipa in alphabet.items():
        for gesture in phones.gestures(ipa):
            assert gesture.viseme in VISEMES, symbol
            assert (gesture.viseme == "sil") == (ipa == PAUSE), symbol


@pytest.mark.parametrize(
    ("symbol", "visemes"),
    [
        ("b", ["PP"]),
        ("mʲ", ["PP"]),
        ("f", ["FF"]),
        ("w", ["ou"]),
        ("aɪ", ["aa", "ih"]),
        ("tʃ", ["CH"]),
        ("uː", ["ou"]),
        ("ts", ["SS"]),
    ],
)
def test_ipa_is_spelled_in_visemes(symbol: str, visemes: list[str]) -> None:
    assert [gesture.viseme for gesture in phones.gestures(symbol)] == visemes


def test_gestures_of_a_phone_share_its_whole_time() -> None:
    for symbol in ("aɪ", "tʃ", "ɑːɹ", "ɝ", "e", "?"):
        assert sum(gesture.share for gesture in phones.gestures(symbol)) == pytest.approx(1.0)


def test_lips_shut_fully_for_a_short_bilabial_between_open_vowels() -> None:
    spoken = contiguous(
        [Phone("a", 0.2, 0.35), Phone("b", 0.35, 0.39), Phone("a", 0.39, 0.55)], 0.8
    )
    mouth = targets_of(spoken, 80).mouth
    assert aperture(mouth)[37] < 0.05
    assert aperture(mouth)[30] > 0.6
    assert mouth[37, CLOSED] > 0.85


@pytest.mark.parametrize("consonant", ["t", "d", "s", "k", "n", "l", "ɹ"])
def test_consonants_made_behind_the_lips_leave_them_open(consonant: str) -> None:
    gap = aperture(curves("a", consonant, "a"))
    assert gap[58:74].min() > 0.2


def test_pauses_shut_the_mouth_and_words_that_touch_do_not() -> None:
    spoken = contiguous([Phone("a", 0.2, 0.5), Phone("a", 0.54, 0.8)], 1.2)
    gap = aperture(targets_of(spoken, 120).mouth)
    assert gap[52] > 0.4, "a joint of 40 ms"
    assert gap[:10].max() < 0.01 and gap[95:].max() < 0.01


def test_u_is_rounder_and_less_open_than_a() -> None:
    a, u = curves("a", "a")[58], curves("u", "u")[58]
    assert u[ROUND] > 0.8 > 0.1 > a[ROUND]
    assert u[OPEN] < 0.5 < a[OPEN]


def test_viseme_and_bilabial_times_follow_the_phones() -> None:
    spoken = said("m", "a", "p")
    assert bilabial_times_s(spoken) == pytest.approx([0.54, 0.70])
    viseme = targets_of(spoken, 124).viseme
    assert [VISEME_NAMES[viseme[i]] for i in (20, 54, 62, 70, 100)] == [
        "sil",
        "PP",
        "aa",
        "PP",
        "sil",
    ]


def test_joined_utterances_keep_their_phones_over_their_sound() -> None:
    tone = np.ones(8000, np.float32)
    part = Utterance(tone, contiguous([Phone("a", 0.0, 0.5)], 0.5), "engine", "voice", "en")
    whole = joined([part, part], [0.25, 0.5, 1.0])
    for phone in whole.phones:
        sound = whole.samples[round(phone.start_s * 16000) : round(phone.end_s * 16000)]
        assert sound.mean() == (0.0 if phone.symbol == PAUSE else 1.0)
    assert whole.duration_s == 2.75


def test_the_rule_scores_perfectly_against_itself_and_a_gaping_mouth_hits_nothing() -> None:
    spoken = said("m", "a", "t", "a", "p", "i", "f", "o")
    frames = round(spoken[-1].end_s * 100)
    perfect = total([score_clip(targets_of(spoken, frames).mouth, spoken)])
    assert (perfect.r, perfect.closure_recall, perfect.false_closures) == (
        pytest.approx(1.0),
        1.0,
        0.0,
    )
    gaping = np.tile(np.float32([1, 1, 0, 0, 0, 0, 0]), (frames, 1))
    assert total([score_clip(gaping, spoken)]).closure_recall == 0.0


def test_lips_that_shut_in_the_middle_of_a_vowel_count_as_false() -> None:
    spoken = said("a", "a", "a", "a", each_s=0.1)
    mouth = targets_of(spoken, 140).mouth
    mouth[68:72, CLOSED] = 1.0
    assert total([score_clip(mouth, spoken)]).false_closures > 0.3
