"""The specification's audio service, for single chunks."""

from __future__ import annotations

import numpy as np
import pytest
from audio_recordings import chunk, pcm16, tone

from orchestrator.audio.mel import MelSpec, log_mel
from orchestrator.audio.service import AudioFeatureService
from orchestrator.errors import LipSyncError


def test_features_of_a_chunk_are_its_mel_its_length_and_its_energy() -> None:
    features = AudioFeatureService().extract_features(chunk(pcm16(tone(48_000, 0.1)), 48_000))
    assert features.duration_ms == pytest.approx(100.0)
    assert features.rms_energy == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert features.mel.shape == (11, 80)


def test_the_mel_is_that_of_the_preprocessed_samples() -> None:
    service, sent = AudioFeatureService(), chunk(pcm16(tone(16_000, 0.1)))
    samples = service.preprocess_for_lip_sync(sent, 16_000)
    assert np.array_equal(service.extract_features(sent).mel, log_mel(samples, MelSpec()))


def test_no_other_target_rate_is_offered() -> None:
    with pytest.raises(ValueError, match="16000"):
        AudioFeatureService().preprocess_for_lip_sync(chunk(pcm16(tone(16_000, 0.1))), 8_000)


def test_a_bad_chunk_names_its_field() -> None:
    with pytest.raises(LipSyncError, match=r"audioChunk\.data"):
        AudioFeatureService().extract_features(chunk(b""))
