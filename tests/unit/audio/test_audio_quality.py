"""Five figures that tell whether a recording is to blame."""

from __future__ import annotations

import numpy as np
import pytest
from audio_recordings import syllables

from orchestrator.audio.quality import LARGEST_SNR_DB, assess_quality
from orchestrator.types import Samples


def noisy(snr_db: float) -> Samples:
    speech = syllables(16_000, 4.0, -26.0)
    noise = np.random.default_rng(1).standard_normal(len(speech))
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
    return (speech + noise).astype(np.float32)


@pytest.mark.parametrize("snr_db", [0.0, 5.0, 10.0, 20.0, 30.0])
def test_the_noise_is_found_in_the_pauses(snr_db: float) -> None:
    assert assess_quality(noisy(snr_db)).snr_db == pytest.approx(snr_db, abs=1.0)


def test_clarity_falls_with_noise_and_is_nearly_whole_without() -> None:
    clarities = [assess_quality(noisy(snr_db)).clarity for snr_db in (0.0, 10.0, 30.0)]
    assert clarities == sorted(clarities)
    assert clarities[0] < 0.5 < 0.9 < clarities[2]


def test_digital_silence_has_no_noise_no_level_and_no_clarity() -> None:
    quality = assess_quality(np.zeros(16_000, np.float32))
    assert (quality.snr_db, quality.clarity, quality.volume_db, quality.silence_ratio) == (-0.0, 0.0, -120.0, 1.0)
    assert assess_quality(np.zeros(0, np.float32)).silence_ratio == 1.0


def test_a_recording_without_noise_has_the_largest_ratio() -> None:
    assert assess_quality(syllables(16_000, 2.0, -26.0).astype(np.float32)).snr_db == LARGEST_SNR_DB


def test_the_silent_share_is_counted_in_blocks() -> None:
    half = np.concatenate((np.zeros(8_000), 0.1 * np.random.default_rng(0).standard_normal(8_000))).astype(np.float32)
    assert assess_quality(half).silence_ratio == pytest.approx(0.5, abs=0.02)


def test_a_wave_cut_at_its_limit_is_clipped_and_a_full_scale_one_is_not() -> None:
    wave = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert assess_quality(np.clip(1.5 * wave, -1.0, 32767 / 32768).astype(np.float32)).has_clipping
    assert not assess_quality((0.99 * wave).astype(np.float32)).has_clipping


def test_less_than_a_block_is_judged_too() -> None:
    assert assess_quality(np.full(40, 0.5, np.float32)).volume_db == pytest.approx(-6.02, abs=0.01)
