"""Resampling leaves no seams, keeps time exactly, and delays by about a millisecond."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from audio_recordings import delay_samples, syllables, tone

from orchestrator.audio.features.log_mel import MelSpec, log_mel
from orchestrator.audio.resampler import make_resampler, resampled_length
from orchestrator.core.types import Samples

SIMPLE_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
ODD_RATES = (8_001, 37_813, 47_999)


def resampled(signal: Samples, rate: int, cuts: list[int] | None = None) -> Samples:
    resampler = make_resampler(rate)
    parts = [resampler.push(part) for part in np.split(np.asarray(signal, np.float32), cuts or [])]
    return np.concatenate([*parts, resampler.flush()])


@pytest.mark.parametrize("rate", SIMPLE_RATES + ODD_RATES)
@pytest.mark.parametrize("seed", range(4))
def test_any_chunking_gives_the_whole_signals_result(rate: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal = rng.uniform(-1, 1, rng.integers(1, rate)).astype(np.float32)
    cuts = sorted(rng.integers(0, len(signal) + 1, rng.integers(1, 40)).tolist())
    whole = resampled(signal, rate)
    chunked = resampled(signal, rate, cuts)
    assert len(chunked) == len(whole) == resampled_length(len(signal), rate)
    assert np.abs(chunked - whole).max(initial=0.0) < 1e-5


@pytest.mark.parametrize("rate", SIMPLE_RATES + ODD_RATES)
def test_output_is_aligned_with_its_input_within_a_tenth_of_a_millisecond(rate: int) -> None:
    speech = syllables(48_000, 1.0, -20.0)
    heard = resampled(np.interp(np.arange(rate) / rate, np.arange(48_000) / 48_000, speech), rate)
    at_16k = np.interp(np.arange(16_000) / 16_000, np.arange(48_000) / 48_000, speech)
    assert abs(delay_samples(heard, at_16k)) < 1.6


@pytest.mark.parametrize("rate", SIMPLE_RATES)
def test_an_impulse_stays_where_it_is(rate: int) -> None:
    impulse = np.zeros(rate, np.float32)
    impulse[rate // 2] = 1.0
    energy = resampled(impulse, rate) ** 2
    centre = float(np.sum(energy * np.arange(len(energy))) / energy.sum())
    assert centre == pytest.approx(16_000 * (rate // 2) / rate, abs=0.02)


@pytest.mark.parametrize("rate", SIMPLE_RATES)
@pytest.mark.parametrize("hz", [100.0, 1_000.0, 3_000.0])
def test_tones_keep_amplitude_and_phase(rate: int, hz: float) -> None:
    heard = resampled(tone(rate, 0.4, hz), rate)
    assert np.abs(heard - tone(16_000, 0.4, hz))[400:-400].max() < 1e-3


@pytest.mark.parametrize("rate", [24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("hz", [9_000.0, 10_000.0, 11_500.0])
def test_what_lies_above_the_band_is_gone_rather_than_folded_into_it(rate: int, hz: float) -> None:
    heard = resampled(tone(rate, 0.5, hz, amplitude=1.0), rate)[400:-400]
    assert 20 * np.log10(np.sqrt(2 * np.mean(heard**2))) < -55


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
def test_the_short_filter_gives_the_log_mel_of_a_long_one(rate: int) -> None:
    hiss = np.random.default_rng(0).standard_normal(rate) * 0.1
    ours, best = (
        resampled(hiss, rate),
        soxr.resample(hiss, rate, 16_000, quality="VHQ").astype(np.float32),
    )
    difference = log_mel(ours, MelSpec()) - log_mel(best, MelSpec())
    assert np.abs(difference.mean(axis=0)).max() < 0.1


@pytest.mark.parametrize("rate", [rate for rate in SIMPLE_RATES if rate != 16_000])
def test_the_delay_is_constant_and_short(rate: int) -> None:
    resampler = make_resampler(rate)
    received, emitted, lags = 0, 0, []
    for _ in range(50):
        part = np.zeros(rate // 100, np.float32)
        received += len(part)
        emitted += len(resampler.push(part))
        lags.append(1000 * (received / rate - emitted / 16_000))
    longest_ms = 2.1 if rate <= 12_000 else 1.1
    assert min(lags) > 0.0
    assert max(lags) < longest_ms
    assert max(lags) - min(lags) < 0.1


@pytest.mark.parametrize("rate", SIMPLE_RATES + ODD_RATES)
def test_nothing_in_gives_nothing_out(rate: int) -> None:
    assert len(resampled(np.zeros(0, np.float32), rate)) == 0
