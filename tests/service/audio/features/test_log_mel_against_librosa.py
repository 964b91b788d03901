"""The streaming log-mel equals librosa's; here, since librosa's first call compiles for seconds."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from orchestrator.audio.features.features import mfcc
from orchestrator.audio.features.log_mel import MelSpec, filter_bank, log_mel
from orchestrator.audio.stream import AudioStream
from orchestrator.core.types import AudioChunk, AudioFormat


@pytest.mark.parametrize(
    "spec",
    [MelSpec(), MelSpec(n_fft=800, win_length=800, hop_length=200, fmin_hz=55.0)],
    ids=["built in", "wav2lip"],
)
def test_log_mel_whole_and_streamed_equals_librosas(spec: MelSpec) -> None:
    rng = np.random.default_rng(0)
    signal = (
        np.round(rng.standard_normal(16_000).cumsum() * 100).clip(-32_768, 32_767).astype("<i2")
    )
    samples = signal.astype(np.float32) / 32_768
    stream = AudioStream()
    for start in range(0, len(signal), 1_100):
        stream.push(
            AudioChunk(signal[start : start + 1_100].tobytes(), 0.0, 0, 16_000, 1, AudioFormat.PCM)
        )
    stream.finish()
    expected = _librosa(samples, spec)
    assert np.abs(log_mel(samples, spec) - expected).max() < 1e-3
    assert (
        np.abs(np.exp(log_mel(samples, spec)) - np.exp(expected)).max() / np.exp(expected).max()
        < 1e-6
    )
    assert np.abs(stream.window(spec, len(expected) - 1, len(expected)) - expected).max() < 1e-3


def _librosa(samples: np.ndarray, spec: MelSpec) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=16_000,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        win_length=spec.win_length,
        n_mels=spec.n_mels,
        fmin=spec.fmin_hz,
        fmax=spec.fmax_hz,
        center=True,
        pad_mode="constant",
    )
    return np.log(np.maximum(power, spec.log_floor)).T


def test_the_filter_bank_equals_librosas() -> None:
    expected = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=80, fmin=80.0, fmax=7600.0)
    assert np.abs(filter_bank(MelSpec()) - expected).max() < 1e-7


def test_mfccs_equal_librosas() -> None:
    signal = (0.1 * np.random.default_rng(0).standard_normal(16_000).cumsum() / 30).astype(
        np.float32
    )
    mel = log_mel(signal, MelSpec())
    expected = librosa.feature.mfcc(
        S=librosa.power_to_db(np.exp(mel).T, ref=1.0, amin=1e-12), n_mfcc=13
    ).T
    assert np.abs(mfcc(mel) - expected).max() < 1e-3
