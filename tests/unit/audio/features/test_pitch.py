"""The pitch of voices, and none where there is no voice."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.audio.features.pitch import pitch_hz

TIME_S = np.arange(16_000) / 16_000


def voice(hz: float) -> NDArray[np.float32]:
    return 0.2 * sum(np.sin(2 * np.pi * hz * k * TIME_S) / k for k in range(1, 8)).astype(
        np.float32
    )


@pytest.mark.parametrize("hz", [70.0, 110.0, 150.5, 220.0, 440.0])
def test_a_steady_voice_has_its_pitch_within_a_percent(hz: float) -> None:
    found = pitch_hz(voice(hz), 160)
    assert found.shape == (101,)
    assert found[5:-5] == pytest.approx(hz, rel=0.01)


def test_a_gliding_voice_is_followed() -> None:
    pitch = 100.0 + 80.0 * TIME_S
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    found = pitch_hz(
        (0.2 * sum(np.sin(k * phase) / k for k in range(1, 8))).astype(np.float32), 160
    )
    assert found[10:90] == pytest.approx(pitch[1_600:14_400:160], rel=0.02)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    assert (pitch_hz(noise, 160) > 0).mean() < 0.02
    assert not pitch_hz(np.zeros(16_000, np.float32), 160).any()


def test_less_than_a_period_is_no_error() -> None:
    assert pitch_hz(np.zeros(10, np.float32), 160).tolist() == [0.0]
