"""The yardstick measures right: known mouths, shifted, frozen or random, get the numbers they
deserve.
"""

# ruff: noqa: RUF001  (IPA letters look like Latin ones)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.lip_scores import mean_score, score, spread
from benchmarks.true_mouth import TrueMouth, true_mouth

FPS = 25.0


@dataclass(frozen=True)
class Phone:
    symbol: str
    start_s: float
    end_s: float


def spoken(text: str, step_s: float = 0.08, lead_s: float = 0.6) -> tuple[TrueMouth, float]:
    """Letters of IPA, each `step_s` long, with silence around them."""
    phones = [Phone("_", 0.0, lead_s)]
    phones += [
        Phone(letter, lead_s + i * step_s, lead_s + (i + 1) * step_s)
        for i, letter in enumerate(text)
    ]
    end_s = lead_s + len(text) * step_s + 1.2
    return true_mouth([*phones, Phone("_", end_s - 1.2, end_s)], end_s), end_s


MOUTH, DURATION_S = spoken("mɑsipəlɔdɪbætuʃɛnɑkimoləpɑdɪsæfubət")


def gaps(shift_s: float = 0.0) -> np.ndarray:
    times_s = (np.arange(int(DURATION_S * FPS)) + 0.5) / FPS
    return 0.04 + 0.3 * MOUTH.at(times_s + shift_s, MOUTH.aperture)


def test_the_true_mouth_itself_scores_full_marks() -> None:
    marks = score(gaps(), MOUTH, FPS)
    assert marks.corr == pytest.approx(1.0)
    assert marks.corr_in_speech == pytest.approx(1.0)
    assert marks.closure_recall == 1.0
    assert marks.closure_chance < 0.6
    assert marks.silence_motion == 0.0
    assert marks.shut_after_ms < 100


@pytest.mark.parametrize("offset_ms", [-60.0, -13.0, 0.0, 27.0, 80.0])
def test_the_offset_is_positive_when_the_picture_is_ahead(offset_ms: float) -> None:
    assert score(gaps(offset_ms / 1000), MOUTH, FPS).offset_ms == pytest.approx(offset_ms, abs=1.5)


def test_a_frozen_mouth_scores_nothing() -> None:
    marks = score(np.full(len(gaps()), 0.1), MOUTH, FPS)
    assert marks.corr == marks.corr_in_speech == 0.0
    assert marks.closure_recall == marks.closure_chance == 0.0


def test_lips_that_shut_at_random_do_no_better_than_chance() -> None:
    differences = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        marks = score(rng.permutation(gaps()), MOUTH, FPS)
        differences.append(marks.closure_recall - marks.closure_chance)
    assert abs(float(np.mean(differences))) < 0.05


def test_a_mouth_that_stays_open_after_speech_is_told_by_how_long() -> None:
    late = gaps()
    times_s = (np.arange(len(late)) + 0.5) / FPS
    late[(times_s > MOUTH.speech_end_s) & (times_s < MOUTH.speech_end_s + 0.4)] = 0.2
    assert score(late, MOUTH, FPS).shut_after_ms == pytest.approx(400, abs=40)


def test_p_b_and_m_shut_the_lips_and_f_nearly_does() -> None:
    mouth, _ = spoken("ɑmɑfɑ")
    apertures = mouth.at(np.array([0.64, 0.72, 0.88]), mouth.aperture)
    assert apertures[0] > 0.6
    assert apertures[1] < 0.02
    assert 0.02 < apertures[2] < 0.5
    assert mouth.closures_s == pytest.approx((0.72,))


def test_h_takes_the_shape_of_the_vowel_after_it() -> None:
    wide, _ = spoken("hɑ")
    narrow, _ = spoken("hu")
    assert wide.aperture[640] > 2 * narrow.aperture[640]


def test_a_short_pause_is_a_joint_and_a_long_one_is_silence() -> None:
    joined, _ = spoken("ɑ_ɑ", step_s=0.06)
    parted, _ = spoken("ɑ_ɑ", step_s=0.4)
    assert joined.aperture[690] > 0.9
    assert parted.aperture[1200] == pytest.approx(0.0, abs=1e-9)
    assert joined.is_speech[690]
    assert not parted.is_speech[1200]


def test_means_leave_out_what_a_clip_does_not_have() -> None:
    vowels, duration_s = spoken("ɑiɑ")
    times_s = (np.arange(int(duration_s * FPS)) + 0.5) / FPS
    without = score(vowels.at(times_s, vowels.aperture), vowels, FPS)
    assert np.isnan(without.closure_recall)
    assert mean_score([without, score(gaps(), MOUTH, FPS)]).closure_recall == 1.0


def test_spread_ignores_single_outliers() -> None:
    assert spread(np.array([0.0] * 99 + [100.0])) == 0.0
