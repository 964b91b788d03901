"""What is done to the sound must not move it against its phones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from export.audio2motion import channel, music, noises
from export.audio2motion.speech import PAUSE, Phone, Utterance, contiguous
from export.audio2motion.world import VoiceChange, changed_voices, stretch

CHANGE = VoiceChange(
    tract_scale=1.15,
    pitch_hz=190.0,
    pitch_range=1.0,
    breath=0.9,
    smear_ms=5.0,
    speed=0.8,
    unevenness=0.2,
    seed=3,
)


def pulses(rng: np.random.Generator) -> np.ndarray:
    """Two seconds of a buzz that is loud from 0.5 to 0.9 s and from 1.3 to 1.6 s."""
    times_s = np.arange(32000) / 16000
    gate = ((times_s > 0.5) & (times_s < 0.9)) | ((times_s > 1.3) & (times_s < 1.6))
    buzz = sum(np.sin(2 * np.pi * 130 * k * times_s) / k for k in range(1, 25))
    return (0.2 * buzz * gate + 1e-4 * rng.normal(size=32000)).astype(np.float32)


PHONES = contiguous([Phone("a", 0.5, 0.9), Phone("o", 1.3, 1.6)], 2.0)


def loud_spans_agree(samples: np.ndarray, phones: tuple[Phone, ...]) -> bool:
    """Whether every 20 ms is loud just where a vowel is, but for 40 ms around its edges."""
    for start in range(0, len(samples) - 320, 320):
        now_s = (start + 160) / 16000
        if any(abs(now_s - edge) < 0.04 for p in phones for edge in (p.start_s, p.end_s)):
            continue
        symbol = next(p.symbol for p in phones if p.start_s <= now_s < p.end_s)
        if (samples[start : start + 320].std() > 0.03) != (symbol != PAUSE):
            return False
    return True


def test_the_test_signal_agrees_with_its_phones() -> None:
    assert loud_spans_agree(pulses(np.random.default_rng(0)), PHONES)


def test_stretched_phones_stay_in_order_and_map_back_to_where_they_came_from() -> None:
    phones, old_times = stretch(PHONES, CHANGE, np.random.default_rng(1))
    assert [p.symbol for p in phones] == [p.symbol for p in PHONES]
    assert all(a.end_s == b.start_s for a, b in pairwise(phones))
    for new, old in zip(phones, PHONES, strict=True):
        assert np.interp(
            new.start_s, np.arange(len(old_times)) * 0.005, old_times
        ) == pytest.approx(old.start_s, abs=0.006)


def test_a_changed_voice_is_loud_where_its_moved_phones_are() -> None:
    pytest.importorskip("pyworld", reason="pyworld (the export extra) is not installed")
    (changed,) = changed_voices(
        Utterance(pulses(np.random.default_rng(0)), PHONES, "engine", "voice", "en"), [CHANGE]
    )
    assert changed.duration_s > 2.1
    assert loud_spans_agree(changed.samples, changed.phones)


@pytest.mark.parametrize(("encoder", "container", "rates"), channel.CODECS)
def test_codecs_do_not_move_the_sound(encoder: str, container: str, rates: tuple[int, ...]) -> None:
    samples = pulses(np.random.default_rng(0))
    coded = channel.aligned(
        channel.decode(channel.encode(samples, encoder, container, rates[-1] * 1000), container),
        samples,
    )
    assert len(coded) == len(samples)
    assert loud_spans_agree(coded, PHONES)


@pytest.mark.parametrize("spoil", [channel.equalised, channel.band_limited, channel.clipped])
def test_filters_do_not_move_the_sound(spoil: object) -> None:
    samples = pulses(np.random.default_rng(0))
    spoiled = spoil(samples, np.random.default_rng(2))  # type: ignore[operator]
    lags = range(-40, 41)
    fits = [float(np.dot(samples[100:-100], np.roll(spoiled, -lag)[100:-100])) for lag in lags]
    assert abs(lags[int(np.argmax(fits))]) <= 16, "one millisecond"


@pytest.mark.parametrize(
    "sound", [*noises.NOISES, *music.FAMILIES, music.arrangement, music.unseen_music]
)
def test_sounds_without_speech_are_finite_and_as_long_as_asked(sound: noises.Generator) -> None:
    samples = sound(8000, np.random.default_rng(4))
    assert samples.shape == (8000,)
    assert np.isfinite(samples).all() and samples.std() > 0
