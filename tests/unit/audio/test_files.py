"""Whole files of common kinds are read as the signal that was recorded, and bad ones are refused in
words.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soxr
from audio_recordings import container_bytes, delay_samples, pcm16, syllables, tone, wav_header

from orchestrator.audio.files import decode_sound, read_audio, read_sound
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode

SPEECH = syllables(48_000, 1.0, -20.0)
AT_16K = np.interp(np.arange(16_000) / 16_000, np.arange(48_000) / 48_000, SPEECH)
KINDS = [
    ("wav", "pcm_s16le", "s16"),
    ("flac", "flac", "s16"),
    ("ogg", "libopus", "s16"),
    ("mp3", "libmp3lame", "s16p"),
    ("ipod", "aac", "fltp"),
    ("webm", "libopus", "s16"),
    ("aiff", "pcm_s16be", "s16"),
]


@pytest.mark.parametrize(
    ("container", "codec", "sample_format"), KINDS, ids=[kind[0] for kind in KINDS]
)
def test_a_file_of_any_common_kind_is_read_in_time(
    container: str, codec: str, sample_format: str
) -> None:
    samples = read_audio(container_bytes(SPEECH, 48_000, container, codec, sample_format))
    assert samples.dtype == np.float32
    assert abs(delay_samples(samples, AT_16K)) < 2
    assert abs(len(samples) - 16_000) < 1_000


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 96_000])
def test_stereo_files_of_any_rate_become_mono_at_16_khz(rate: int, tmp_path: Path) -> None:
    data = pcm16(np.repeat(tone(rate, 0.5), 2))
    path = tmp_path / "tone.wav"
    path.write_bytes(wav_header(rate, 2, 16, len(data)) + data)
    samples = read_audio(path)
    assert len(samples) == 8_000
    assert np.abs(samples - tone(16_000, 0.5))[200:-200].max() < 1e-3


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (96_000, 2), (384_000, 8)])
@pytest.mark.slow
def test_of_a_sound_no_more_is_kept_than_ears_have_use_for_and_nothing_is_there_twice(
    rate: int, channels: int
) -> None:
    data = pcm16(np.repeat(tone(rate, 1.0), channels))
    file, pieces = wav_header(rate, channels, 16, len(data)) + data, list[int]()
    kept = decode_sound(
        io.BytesIO(file),
        lambda piece: pieces.append(len(piece)),
        max_duration_s=2.0,
        as_heard=False,
    )
    assert kept == (min(2, channels), min(48_000, rate))
    assert sum(pieces) == 4 * kept[0] * kept[1]
    assert max(pieces) < 64 * 1024
    sound = read_sound(file)
    assert (sound.samples.shape, sound.rate_hz, sound.duration_s) == (
        (kept[0], kept[1]),
        kept[1],
        1.0,
    )


def test_a_file_resampled_piece_by_piece_is_as_one_resampled_whole() -> None:
    sound = tone(44_100, 2.0) * np.linspace(0.1, 0.9, 88_200, dtype=np.float32)
    data = pcm16(sound)
    whole = soxr.resample(np.frombuffer(data, "<i2").astype(np.float32) / 32768.0, 44_100, 16_000)
    samples = read_audio(wav_header(44_100, 1, 16, len(data)) + data)
    assert samples.shape == whole.shape
    assert np.abs(samples - whole).max() < 1e-5


AAC_48K, AAC_24K = (
    container_bytes(SPEECH[:9_600], rate, "adts", "aac", "fltp") for rate in (48_000, 24_000)
)


def _wav(seconds: float) -> bytes:
    data = pcm16(tone(16_000, seconds))
    return wav_header(16_000, 1, 16, len(data)) + data


BAD = {
    "nothing": b"",
    "junk": b"junk" * 100,
    "a playlist that names another file": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "a WAV header alone": _wav(0.0),
    "a cut WAV header": _wav(0.1)[:20],
    "an Ogg page of junk": b"OggS" + b"\xff" * 200,
    "an MP4 of junk": b"\0\0\0\x20ftypisom" + b"\xff" * 200,
    "an MP3 tag of junk": b"ID3" + b"\xff" * 200,
    "a FLAC of junk": b"fLaC" + b"\xff" * 200,
    "a WAV of an unknown coding": wav_header(16_000, 1, 16, 200, tag=0x7777) + bytes(200),
    "a WAV of no channels": wav_header(16_000, 0, 16, 200) + bytes(200),
    "an AAC that changes its rate": AAC_48K + AAC_24K,
    "a WAV of more samples a second than anything has": wav_header(655_350, 1, 16, 200)
    + bytes(200),
    "a WAV of one sample a second": wav_header(1, 1, 16, 200) + bytes(200),
    "a WAV of sixteen channels": wav_header(48_000, 16, 16, 3200) + bytes(3200),
    "a WAV with NaN": wav_header(16_000, 1, 32, 8, tag=3) + np.array([0, np.nan], "<f4").tobytes(),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(LipSyncError) as caught:
        read_audio(data)
    assert caught.value.code is LipSyncErrorCode.AUDIO_PROCESSING_FAILED
    assert caught.value.details == {"field": "audio"}


def test_a_file_that_is_too_long_is_refused() -> None:
    with pytest.raises(LipSyncError, match="longer than 1 s"):
        read_audio(_wav(1.5), max_duration_s=1.0)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LipSyncError, match=r"gone\.wav cannot be read"):
        read_audio(tmp_path / "gone.wav")
