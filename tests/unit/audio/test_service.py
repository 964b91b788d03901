"""The specification's audio service, for chunks by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from audio_recordings import chunk, pcm16, syllables, tone

from orchestrator.audio.features.log_mel import MelSpec, log_mel
from orchestrator.audio.service import AudioFeatureService
from orchestrator.core.errors import LipSyncError


def test_features_of_a_chunk_are_its_mel_cepstrum_length_energy_and_pitch() -> None:
    features = AudioFeatureService().extract_features(chunk(pcm16(tone(48_000, 0.1)), 48_000))
    assert features.duration_ms == pytest.approx(100.0)
    assert features.sample_rate_hz == 16_000
    assert features.mel_spectrogram.shape == (11, 80)
    assert features.mfcc.shape == (11, 13)
    assert features.pitch_hz.shape == (11,)
    assert features.energy[3:8] == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_the_mel_is_that_of_the_preprocessed_samples() -> None:
    service, sent = AudioFeatureService(), chunk(pcm16(tone(16_000, 0.1)))
    samples = service.preprocess_for_lip_sync(sent, 16_000)
    assert np.array_equal(
        service.extract_features(sent).mel_spectrogram, log_mel(samples, MelSpec())
    )


def test_several_chunks_are_joined_without_a_seam() -> None:
    service, samples = AudioFeatureService(), syllables(44_100, 1.0, -20.0)
    pieces = [chunk(pcm16(piece), 44_100) for piece in np.split(samples, 10)]
    whole = service.extract_features(chunk(pcm16(samples), 44_100))
    joined = service.extract_streaming_features(pieces)
    assert np.abs(joined.mel_spectrogram - whole.mel_spectrogram).max() < 1e-5
    with pytest.raises(ValueError, match="at least one"):
        service.extract_streaming_features([])


def test_features_are_remembered_by_content_until_they_are_too_old() -> None:
    now = 0.0
    service = AudioFeatureService(cache_ttl_s=300.0, clock=lambda: now)
    first = service.extract_features(chunk(pcm16(tone(16_000, 0.1))))
    now = 299.0
    assert service.extract_features(chunk(pcm16(tone(16_000, 0.1)))) is first
    assert service.extract_features(chunk(pcm16(0.5 * tone(16_000, 0.1)))) is not first
    now = 300.0
    assert service.extract_features(chunk(pcm16(tone(16_000, 0.1)))) is not first


@pytest.mark.parametrize("target_rate", [8_000, 16_000, 22_050, 48_000])
@pytest.mark.parametrize("source_rate", [16_000, 44_100])
def test_a_chunk_is_preprocessed_for_the_rate_that_is_asked_for(
    source_rate: int, target_rate: int
) -> None:
    samples = AudioFeatureService().preprocess_for_lip_sync(
        chunk(pcm16(tone(source_rate, 0.2)), source_rate), target_rate
    )
    assert len(samples) == pytest.approx(0.2 * target_rate, abs=1)
    middle, same = samples[len(samples) // 4 : -len(samples) // 4], tone(target_rate, 0.2)
    assert np.abs(middle - same[len(samples) // 4 : -len(samples) // 4][: len(middle)]).max() < 0.01


@pytest.mark.parametrize("target_rate", [0, -16_000, 7_999, 96_000])
def test_a_target_rate_that_no_model_has_is_refused(target_rate: int) -> None:
    with pytest.raises(LipSyncError, match="targetRate"):
        AudioFeatureService().preprocess_for_lip_sync(chunk(pcm16(tone(16_000, 0.1))), target_rate)


def test_a_bad_chunk_names_its_field() -> None:
    with pytest.raises(LipSyncError, match=r"audioChunk\.data"):
        AudioFeatureService().extract_features(chunk(b""))


def test_the_quality_of_a_chunk_is_that_of_its_samples() -> None:
    quality = AudioFeatureService().assess_audio_quality(chunk(pcm16(tone(48_000, 0.5)), 48_000))
    assert quality.volume_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert not quality.has_clipping
