"""The silence gate stops digital silence and faint room noise, and never speech, however quiet."""

from __future__ import annotations

import numpy as np
import pytest
from audio_recordings import Signal, chunk, pcm16, syllables

from orchestrator.audio.stream import AudioStream


def noise(seconds: float, level_db: float, seed: int = 0) -> Signal:
    return np.random.default_rng(seed).standard_normal(round(16_000 * seconds)) * 10 ** (
        level_db / 20
    )


def stream_of(*signals: Signal, step: int = 1_600) -> AudioStream:
    stream = AudioStream()
    joined = np.concatenate(signals)
    for start in range(0, len(joined), step):
        stream.push(chunk(pcm16(joined[start : start + step])))
    return stream


def gated(stream: AudioStream, begin_s: float, end_s: float, span_s: float = 0.3) -> list[bool]:
    """Answers for spans of 0.3 s, every 50 ms."""
    starts = np.arange(begin_s, end_s - span_s + 1e-9, 0.05)
    return [stream.is_silent(float(start), float(start + span_s)) for start in starts]


def test_digital_silence_is_silent_from_the_first_sample() -> None:
    assert all(gated(stream_of(np.zeros(16_000)), 0.0, 1.0))


@pytest.mark.parametrize("level_db", [-62.0, -70.0, -80.0, -90.0])
def test_faint_room_noise_is_silent_once_its_floor_is_known(level_db: float) -> None:
    assert all(gated(stream_of(noise(4.0, level_db)), 0.8, 4.0))


@pytest.mark.parametrize("level_db", [-64.0, -50.0, -40.0, -20.0])
@pytest.mark.parametrize("seed", range(3))
def test_speech_is_never_silent_however_quiet(level_db: float, seed: int) -> None:
    assert not any(gated(stream_of(syllables(16_000, 3.0, level_db, seed)), 0.0, 3.0, span_s=0.55))


def test_quiet_speech_over_room_noise_is_not_silent() -> None:
    speech = syllables(16_000, 2.0, -55.0)
    stream = stream_of(noise(1.0, -72.0), speech + noise(2.0, -72.0), noise(1.5, -72.0))
    assert all(gated(stream, 0.6, 1.0))
    assert not any(gated(stream, 1.0, 3.0, span_s=0.55))
    assert all(gated(stream, 3.1, 4.5))


def test_steady_noise_louder_than_the_ceiling_is_left_to_the_network() -> None:
    assert not any(gated(stream_of(noise(3.0, -45.0)), 0.0, 3.0))


def test_direct_current_is_not_sound() -> None:
    assert all(gated(stream_of(np.full(16_000, 0.1)), 0.0, 1.0))


def test_a_word_inside_a_span_opens_it_and_the_end_of_the_turn_closes_it() -> None:
    stream = stream_of(np.zeros(8_000), syllables(16_000, 0.5, -25.0))
    stream.finish()
    assert stream.is_silent(0.0, 0.5)
    assert not stream.is_silent(0.3, 1.0)
    assert stream.is_silent(1.05, 1.35)
    assert stream.is_silent(-1.0, 0.0)


def test_the_answer_does_not_depend_on_the_chunking() -> None:
    signal = np.concatenate((noise(1.0, -65.0), syllables(16_000, 1.0, -60.0), noise(1.0, -65.0)))
    answers = [gated(stream_of(signal, step=step), 0.0, 3.0) for step in (160, 371, 1_600, 20_000)]
    assert all(answer == answers[0] for answer in answers)
