"""A turn's audio gives the same mel frames and the same clock however it was cut, lost or
interrupted by bad chunks.
"""

from __future__ import annotations

import numpy as np
import pytest
from audio_recordings import chunk, container_bytes, ogg_pages, pcm16, syllables, tone

from orchestrator.audio.features.decibel_mel import decibel_mel
from orchestrator.audio.features.log_mel import MelSpec, log_mel
from orchestrator.audio.resampler import make_resampler, resampled_length
from orchestrator.audio.stream import AudioStream
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import AudioFormat, MelScale, WaveformSpec

SPEC = MelSpec()
FLOOR = np.float32(np.log(SPEC.log_floor))


def offline(signal: np.ndarray, rate: int) -> np.ndarray:
    """What the whole signal gives at once, after the same rounding to 16 bits that the wire
    brings.
    """
    resampler = make_resampler(rate)
    rounded = np.frombuffer(pcm16(signal), "<i2").astype(np.float32) / 32768
    return np.concatenate((resampler.push(rounded), resampler.flush()))


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 44_101])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_any_chunking_gives_the_offline_mel(rate: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal = syllables(rate, 1.3, -15.0, seed)
    frames = np.repeat(signal, channels)
    stream, position = AudioStream(), 0
    while position < len(signal):
        size = int(rng.integers(1, rate // 5))
        stream.push(
            chunk(pcm16(frames[position * channels : (position + size) * channels]), rate, channels)
        )
        position += size
    stream.finish()
    expected = log_mel(offline(signal, rate), SPEC)
    assert np.abs(stream.window(SPEC, len(expected) - 1, len(expected)) - expected).max() < 1e-5


def test_one_sample_at_a_time_gives_the_offline_mel() -> None:
    signal = tone(16_000, 0.05)
    stream = AudioStream()
    for sample in signal:
        stream.push(chunk(pcm16([sample])))
    stream.finish()
    expected = log_mel(offline(signal, 16_000), SPEC)
    assert np.abs(stream.window(SPEC, len(expected) - 1, len(expected)) - expected).max() < 1e-5


def test_frames_outside_the_turn_are_those_of_silence() -> None:
    stream = AudioStream()
    signal = tone(16_000, 0.1)
    stream.push(chunk(pcm16(signal)))
    stream.finish()
    padded = np.concatenate(
        (np.zeros(1_600, np.float32), offline(signal, 16_000), np.zeros(3_200, np.float32))
    )
    expected = log_mel(padded, SPEC)
    assert np.abs(stream.window(SPEC, 19, 30) - expected[:30]).max() < 1e-5
    assert (stream.window(SPEC, 10_000, 5) == FLOOR).all()
    assert (stream.window(SPEC, -2, 80) == FLOOR).all()


def test_a_frame_is_ready_once_its_last_sample_has_come() -> None:
    stream = AudioStream()
    stream.push(chunk(pcm16(np.zeros(199))))
    assert stream.rows_ready(SPEC) == 0
    stream.push(chunk(pcm16(np.zeros(1))))
    assert stream.rows_ready(SPEC) == 1
    stream.push(chunk(pcm16(np.zeros(160 * 9))))
    assert stream.rows_ready(SPEC) == 10
    with pytest.raises(ValueError, match="not ready"):
        stream.window(SPEC, 10, 1)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 24_000, 44_100, 48_000])
def test_the_media_clock_counts_received_audio_and_not_what_the_filter_let_out(rate: int) -> None:
    stream = AudioStream()
    for _ in range(7):
        stream.push(chunk(pcm16(np.zeros(rate // 10)), rate))
    assert stream.samples_received == resampled_length(7 * (rate // 10), rate)
    before = stream.samples_received
    stream.finish()
    assert stream.samples_received == before
    assert stream.duration_s == pytest.approx(before / 16_000)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_silence_in_place_of_a_lost_chunk_keeps_the_clock_right(rate: int) -> None:
    signal = tone(rate, 0.5)
    tenth = rate // 10
    with_gap = signal.copy()
    with_gap[2 * tenth : 3 * tenth] = 0.0
    stream = AudioStream()
    stream.push(chunk(pcm16(signal[: 2 * tenth]), rate))
    stream.push_silence(100.0)
    stream.push(chunk(pcm16(signal[3 * tenth :]), rate))
    stream.finish()
    expected = log_mel(offline(with_gap, rate), SPEC)
    assert stream.samples_received == 8_000
    assert np.abs(stream.window(SPEC, len(expected) - 1, len(expected)) - expected).max() < 1e-5


def test_silence_before_the_first_chunk_shifts_the_turn() -> None:
    shifted, plain = AudioStream(), AudioStream()
    shifted.push_silence(100.0)
    assert shifted.rows_ready(SPEC) == 9
    for stream in (shifted, plain):
        stream.push(chunk(pcm16(tone(48_000, 0.2)), 48_000))
        stream.finish()
    assert shifted.samples_received == plain.samples_received + 1_600
    assert np.abs(shifted.window(SPEC, 30, 19) - plain.window(SPEC, 20, 19)).max() < 1e-5


def test_a_bad_chunk_leaves_the_stream_as_it_was() -> None:
    signal = syllables(24_000, 0.4, -20.0)
    clean, hurt = AudioStream(), AudioStream()
    for start in range(0, len(signal), 2_400):
        piece = chunk(pcm16(signal[start : start + 2_400]), 24_000)
        clean.push(piece)
        hurt.push(piece)
        for bad in (chunk(b"", 24_000), chunk(b"\0", 24_000), chunk(pcm16(signal[:100]), 16_000)):
            with pytest.raises(LipSyncError):
                hurt.push(bad)
    clean.finish()
    hurt.finish()
    assert hurt.samples_received == clean.samples_received
    assert np.array_equal(hurt.window(SPEC, 40, 41), clean.window(SPEC, 40, 41))


def test_opus_pages_become_a_turn_of_the_recordings_length() -> None:
    file = container_bytes(syllables(48_000, 1.5, -20.0), 48_000, "ogg", "libopus")
    stream = AudioStream()
    for page in ogg_pages(file):
        stream.push(chunk(page, 48_000, kind=AudioFormat.OPUS))
    stream.finish()
    assert stream.duration_s == pytest.approx(1.5, abs=0.001)


def test_memory_is_bounded_by_what_is_kept() -> None:
    stream = AudioStream()
    for _ in range(300):
        stream.push(chunk(pcm16(np.zeros(1_600))))
        stream.discard_before((stream.rows_ready(SPEC) - 103) * SPEC.hop_length)
    assert stream.window(SPEC, stream.rows_ready(SPEC) - 1, 100).shape == (100, 80)
    assert stream._samples._rows.shape[0] <= 1 << 16
    assert all(rows._rows._rows.shape[0] <= 512 for rows in stream._rows.values())
    assert stream._levels._levels._rows.shape[0] <= 1_024
    with pytest.raises(ValueError, match="was dropped"):
        stream.window(SPEC, 5, 1)


def test_a_stream_that_nobody_reads_refuses_more_than_its_limit() -> None:
    stream = AudioStream(max_buffered_s=1.0)
    with pytest.raises(LipSyncError) as caught:
        for _ in range(12):
            stream.push(chunk(pcm16(np.zeros(1_600))))
    assert caught.value.code is LipSyncErrorCode.BUFFER_OVERFLOW
    stream.discard_before(90 * SPEC.hop_length)
    stream.push(chunk(pcm16(np.zeros(1_600))))


def test_a_finished_stream_takes_no_more_audio() -> None:
    stream = AudioStream()
    stream.finish()
    stream.finish()
    assert stream.samples_received == 0
    with pytest.raises(ValueError, match="finished"):
        stream.push(chunk(pcm16(np.zeros(160))))


def test_the_hot_path_imports_neither_librosa_nor_scipy_nor_pyav() -> None:
    import subprocess
    import sys

    code = (
        "import sys, orchestrator.audio.stream; print([m for m in ('librosa', 'scipy', 'av') if "
        "m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


DECIBELS = MelSpec(
    n_mels=80,
    n_fft=800,
    win_length=800,
    hop_length=200,
    fmin_hz=55.0,
    fmax_hz=7600.0,
    scale=MelScale.DECIBEL,
)


def test_decibel_rows_are_those_of_the_whole_signal_between_silences() -> None:
    samples = syllables(16_000, 1.0, -20.0)
    stream = AudioStream()
    for piece in np.array_split(samples, 7):
        stream.push(chunk(pcm16(piece)))
        stream.window(DECIBELS, stream.rows_ready(DECIBELS) - 1, 3)
    stream.finish()
    sent = np.frombuffer(pcm16(samples), np.int16) / np.float32(32_768)
    expected = decibel_mel(
        np.concatenate((np.zeros(2_000, np.float32), sent, np.zeros(2_000, np.float32))), DECIBELS
    )[10:91]
    assert np.abs(stream.window(DECIBELS, 80, 81) - expected).max() < 2e-3
    assert (stream.window(DECIBELS, 300, 5) == -4.0).all()


def test_a_model_that_takes_over_in_mid_turn_hears_what_it_would_have_heard_from_the_start() -> (
    None
):
    samples = syllables(16_000, 3.0, -20.0)
    late, early = AudioStream(), AudioStream()
    for position in range(0, len(samples), 1_600):
        for stream in (late, early):
            stream.push(chunk(pcm16(samples[position : position + 1_600])))
            stream.discard_before(position - 16_000)
        early.window(DECIBELS, early.rows_ready(DECIBELS) - 1, 1)
        late.window(SPEC, late.rows_ready(SPEC) - 1, 1)
    last = early.rows_ready(DECIBELS) - 1
    assert np.abs(late.window(DECIBELS, last, 80) - early.window(DECIBELS, last, 80)).max() < 1e-5


def test_rows_of_a_kind_that_no_model_asks_for_any_more_are_not_made() -> None:
    stream = AudioStream()
    for second in range(3):
        stream.push(chunk(pcm16(np.zeros(16_000))))
        spec = DECIBELS if second == 0 else SPEC
        stream.window(spec, stream.rows_ready(spec) - 1, 1)
        stream.discard_before(second * 16_000)
    assert list(stream._rows) == [SPEC]


def test_a_waveform_is_heard_in_rows_of_samples() -> None:
    samples = syllables(16_000, 1.0, -20.0)[8_000:9_600]
    stream, spec = AudioStream(), WaveformSpec(hop_length=640)
    stream.push(chunk(pcm16(samples)))
    assert stream.rows_ready(spec) == 2
    rows = stream.window(spec, 1, 3)
    assert (rows[0] == 0.0).all()
    assert np.abs(rows[1:].ravel() - samples[:1_280]).max() < 1e-4
    stream.finish()
    assert np.abs(stream.window(spec, 2, 1)[0, :320] - samples[1_280:]).max() < 1e-4
