"""Five figures that tell whether a recording is to blame."""

from __future__ import annotations

import wave
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from audio_recordings import Signal, pcm16, syllables

from orchestrator.audio.quality import MAX_SNR_DB, assess_quality
from orchestrator.core.paths import SAMPLES
from orchestrator.core.types import Samples

NAMES = ("hello", "how-it-works", "for-builders")
SNRS_DB = (0.0, 10.0, 25.0, 40.0)
CHUNK = 1600

Noise = Callable[[int, int], Signal]
"""Of so many samples, by a seed."""


@cache
def sample(name: str) -> Signal:
    """A sample that is shipped; no noise was recorded with it."""
    with wave.open(str(SAMPLES / f"{name}.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0


def without_pauses(speech: Signal) -> Signal:
    """Its blocks of 10 ms above -35 dB of the loudest."""
    blocks = speech[: len(speech) // 160 * 160].reshape(-1, 160)
    power = blocks.var(axis=1)
    return blocks[power > power.max() * 10**-3.5].ravel()


def white(count: int, seed: int) -> Signal:
    return np.random.default_rng(seed).standard_normal(count)


def pink(count: int, seed: int) -> Signal:
    spectrum, hz = np.fft.rfft(white(count, seed)), np.fft.rfftfreq(count, 1 / 16_000)
    spectrum[0] = 0.0
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 20.0)), count)


def babble(count: int, seed: int) -> Signal:
    """Twenty voices at once, backwards."""
    rng, voices = np.random.default_rng(seed), np.concatenate([sample(name) for name in NAMES])
    return sum(
        (np.roll(voices, rng.integers(len(voices)))[::-1][:count] for _ in range(20)),
        np.zeros(count),
    )


def mixed(sound: Signal, noise: Signal, snr_db: float) -> Samples:
    """As 16 bit carry it."""
    noisy = sound + noise * np.sqrt(np.mean(sound**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
    return (
        np.frombuffer(pcm16(noisy / max(1.0, np.abs(noisy).max())), "<i2").astype(np.float32)
        / 32768.0
    )


def seconds(count: float) -> Signal:
    return np.arange(round(16_000 * count)) / 16_000


def sine(t: Signal) -> Signal:
    return 0.3 * np.sin(2 * np.pi * 220 * t)


def buzz(t: Signal) -> Signal:
    """Harmonics of 220 Hz."""
    return 0.1 * sum(np.sin(2 * np.pi * 220 * k * t + k * k) / k for k in range(1, 30))


def glide(t: Signal) -> Signal:
    return 0.3 * np.sin(2 * np.pi * (200 * t + 150 * t**2))


def noisy(snr_db: float) -> Samples:
    speech = syllables(16_000, 4.0, -26.0)
    noise = np.random.default_rng(1).standard_normal(len(speech))
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
    return (speech + noise).astype(np.float32)


@pytest.mark.parametrize("snr_db", [0.0, 5.0, 10.0, 20.0, 30.0])
def test_the_noise_is_found_in_the_pauses(snr_db: float) -> None:
    assert assess_quality(noisy(snr_db)).snr_db == pytest.approx(snr_db, abs=1.5)


def test_clarity_falls_with_noise_and_is_nearly_whole_without() -> None:
    clarities = [assess_quality(noisy(snr_db)).clarity for snr_db in (0.0, 10.0, 30.0)]
    assert clarities == sorted(clarities)
    assert clarities[0] < 0.5 < 0.9 < clarities[2]


def test_digital_silence_has_no_noise_no_level_and_no_clarity() -> None:
    quality = assess_quality(np.zeros(16_000, np.float32))
    assert (quality.snr_db, quality.clarity, quality.volume_db, quality.silence_ratio) == (
        -0.0,
        0.0,
        -120.0,
        1.0,
    )
    assert assess_quality(np.zeros(0, np.float32)).silence_ratio == 1.0


def test_noise_that_cannot_be_heard_is_told_as_the_largest_ratio() -> None:
    tone = np.sin(2 * np.pi * 1000 * seconds(1.0)).astype(np.float32)
    assert assess_quality(tone).snr_db == MAX_SNR_DB


@pytest.mark.parametrize("name", NAMES)
def test_speech_without_noise_is_clean_with_and_without_its_pauses(name: str) -> None:
    assert assess_quality(sample(name).astype(np.float32)).snr_db > 40.0
    quality = assess_quality(without_pauses(sample(name)).astype(np.float32))
    assert quality.snr_db > 30.0
    assert quality.clarity > 0.95


@pytest.mark.parametrize("length_s", [0.1, 1.0])
@pytest.mark.parametrize("noise", [white, pink])
@pytest.mark.parametrize("sound", [sine, buzz, glide])
def test_noise_is_found_under_a_sound_that_never_pauses(
    sound: Callable[[Signal], Signal], noise: Noise, length_s: float
) -> None:
    clean = sound(seconds(length_s))
    for snr_db in SNRS_DB:
        told = [
            assess_quality(mixed(clean, noise(len(clean), seed), snr_db)).snr_db
            for seed in range(3)
        ]
        assert np.mean(told) == pytest.approx(snr_db, abs=4.0), snr_db


@pytest.mark.parametrize("snr_db", SNRS_DB)
@pytest.mark.parametrize("noise", [white, pink])
@pytest.mark.parametrize("name", NAMES)
def test_noise_is_found_in_speech_with_and_without_its_pauses(
    name: str, noise: Noise, snr_db: float
) -> None:
    for speech, most_db in (
        (sample(name), 3.5),
        (without_pauses(sample(name)), 3.5 if snr_db < 40.0 else 8.0),
    ):
        assert assess_quality(mixed(speech, noise(len(speech), 3), snr_db)).snr_db == pytest.approx(
            snr_db, abs=most_db
        )


@pytest.mark.parametrize("snr_db", SNRS_DB)
@pytest.mark.parametrize("name", NAMES)
def test_many_voices_behind_one_are_noise(name: str, snr_db: float) -> None:
    speech = sample(name)
    assert assess_quality(mixed(speech, babble(len(speech), 4), snr_db)).snr_db == pytest.approx(
        snr_db, abs=8.0 if snr_db == 0 else 5.0
    )


@pytest.mark.parametrize("noise", [white, pink])
def test_100_ms_of_speech_tell_their_noise_as_far_as_it_can_be_heard_between_the_voice(
    noise: Noise,
) -> None:
    for snr_db in (0.0, 10.0, 20.0):
        errors = []
        for name in NAMES:
            speech, added = sample(name), noise(len(sample(name)), 5)
            added *= np.sqrt(np.mean(speech**2) / np.mean(added**2) / 10 ** (snr_db / 10))
            for start in range(0, len(speech) - CHUNK, 2 * CHUNK):
                voice, hiss = speech[start : start + CHUNK], added[start : start + CHUNK]
                if np.mean(voice**2) > 0.05 * np.mean(speech**2):
                    true_db = 10 * np.log10(np.mean(voice**2) / np.mean(hiss**2))
                    errors.append(
                        assess_quality((voice + hiss).astype(np.float32)).snr_db - true_db
                    )
        assert abs(np.median(errors)) < 4.0, snr_db
        assert np.mean(np.abs(errors) < 6.0) > 0.85, snr_db


@pytest.mark.parametrize("name", NAMES)
def test_any_second_of_clean_speech_is_told_to_be_clean(name: str) -> None:
    speech = sample(name).astype(np.float32)
    assert (
        min(
            assess_quality(speech[start : start + 16_000]).snr_db
            for start in range(0, len(speech) - 16_000, 8_000)
        )
        > 20.0
    )


def test_100_ms_of_clean_speech_are_not_called_noisy() -> None:
    chunks = [
        sample(name)[start : start + CHUNK]
        for name in NAMES
        for start in range(0, len(sample(name)) - CHUNK, CHUNK)
    ]
    loud = [chunk for chunk in chunks if np.mean(chunk**2) > 1e-4]
    told = [assess_quality(chunk.astype(np.float32)).snr_db for chunk in loud]
    assert np.quantile(told, 0.02) > 10.0  # a chunk may be a fricative and nothing else


@pytest.mark.parametrize("noise", [white, pink, babble])
def test_noise_alone_has_more_noise_than_anything(noise: Noise) -> None:
    assert assess_quality(
        (0.05 * noise(32_000, 6) / np.std(noise(32_000, 6))).astype(np.float32)
    ).snr_db < (6.0 if noise is babble else 0.0)


def test_zeros_around_a_recording_do_not_hide_its_noise() -> None:
    sound = mixed(sample("hello"), white(len(sample("hello")), 7), 10.0)
    padded = np.concatenate((np.zeros(16_000, np.float32), sound, np.zeros(16_000, np.float32)))
    assert assess_quality(padded).snr_db == pytest.approx(10.0, abs=2.0)


def test_the_silent_share_is_counted_in_blocks() -> None:
    half = np.concatenate(
        (np.zeros(8_000), 0.1 * np.random.default_rng(0).standard_normal(8_000))
    ).astype(np.float32)
    assert assess_quality(half).silence_ratio == pytest.approx(0.5, abs=0.02)


def test_a_wave_cut_at_its_limit_is_clipped_and_a_full_scale_one_is_not() -> None:
    wave = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert assess_quality(np.clip(1.5 * wave, -1.0, 32767 / 32768).astype(np.float32)).has_clipping
    assert not assess_quality((0.99 * wave).astype(np.float32)).has_clipping


def test_less_than_a_block_is_judged_too() -> None:
    assert assess_quality(np.full(40, 0.5, np.float32)).volume_db == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_half_a_second_of_a_voice_does_not_confirm_itself_as_noise(name: str) -> None:
    speech = sample(name)
    for start in range(16_000, len(speech) - 8_000, 16_000):
        half = speech[start : start + 8_000]
        assert assess_quality(mixed(half, white(8_000, 11), 30.0)).snr_db > 22.0
