"""The log-mel of this service is what a plain Fourier transform gives."""

from __future__ import annotations

import numpy as np
from audio_recordings import syllables

from orchestrator.audio.features.log_mel import MelSpec, filter_bank, log_mel


def test_log_mel_equals_its_definition() -> None:
    spec, signal = MelSpec(), syllables(16_000, 0.5, -20.0).astype(np.float32)
    padded = np.pad(signal.astype(np.float64), 200)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [
        np.abs(np.fft.rfft(padded[i * 160 : i * 160 + 400] * window, 512)) ** 2 for i in range(51)
    ]
    expected = np.log(
        np.maximum(np.array(frames) @ filter_bank(spec).T.astype(np.float64), spec.log_floor)
    )
    assert np.abs(log_mel(signal, spec) - expected).max() < 1e-3


def test_a_signal_shorter_than_a_hop_has_one_frame() -> None:
    assert log_mel(np.zeros(1, np.float32), MelSpec()).shape == (1, 80)
    assert log_mel(np.zeros(0, np.float32), MelSpec()).shape == (1, 80)
