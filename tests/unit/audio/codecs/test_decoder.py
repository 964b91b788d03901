"""Decoding of chunks: bad ones are refused by the name of the field and harm no other chunk."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from audio_recordings import (
    chunk,
    container_bytes,
    encoded_samples,
    ogg_pages,
    opus_packets,
    pcm16,
    tone,
    wav_header,
)

from orchestrator.audio.codecs.decoder import AudioDecoder, estimated_duration_s
from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import AudioChunk, AudioFormat

WAV, OPUS, PCM = AudioFormat.WAV, AudioFormat.OPUS, AudioFormat.PCM
TONE = tone(16_000, 0.1)
OGG = container_bytes(tone(48_000, 1.0), 48_000, "ogg", "libopus")
PACKETS = opus_packets(tone(48_000, 0.2))


def test_stereo_pcm_is_averaged() -> None:
    left, right = tone(16_000, 0.1, 300), tone(16_000, 0.1, 700)
    samples = AudioDecoder().decode(
        chunk(pcm16(np.stack([left, right], 1).reshape(-1)), channels=2)
    )
    assert np.abs(samples - (left + right) / 2).max() < 1e-4


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("coding", ["u8", "s16", "s24", "s32", "f32", "f64"])
def test_every_wav_coding_gives_the_same_samples(coding: str, extensible: bool) -> None:
    data, bits, tag = encoded_samples(TONE, coding)
    header = wav_header(16_000, 1, bits, len(data), tag=tag, extensible=extensible)
    samples = AudioDecoder().decode(chunk(header + data, kind=WAV))
    assert np.abs(samples - TONE).max() < (0.01 if coding == "u8" else 1e-4)


def test_a_wav_header_wins_over_the_message() -> None:
    decoder = AudioDecoder()
    stereo = pcm16(np.repeat(tone(44_100, 0.1), 2))
    samples = decoder.decode(
        chunk(wav_header(44_100, 2, 16, len(stereo)) + stereo, rate=16_000, channels=1, kind=WAV)
    )
    assert (decoder.sample_rate_hz, len(samples)) == (44_100, 4_410)


@pytest.mark.parametrize(
    "size",
    [0, 0xFFFFFFFF, 0x7FFFFFFF, 10**6],
    ids=["zero", "all ones", "largest signed", "too much"],
)
def test_a_wav_of_unknown_length_is_read_to_its_end(size: int) -> None:
    assert (
        len(AudioDecoder().decode(chunk(wav_header(16_000, 1, 16, size) + pcm16(TONE), kind=WAV)))
        == 1_600
    )


@pytest.mark.parametrize(
    "announced", [0, 3 * 3_200, 3_200], ids=["streaming", "whole file", "first piece only"]
)
def test_bare_samples_continue_a_wav_file(announced: int) -> None:
    decoder = AudioDecoder()
    first = decoder.decode(chunk(wav_header(16_000, 1, 16, announced) + pcm16(TONE), kind=WAV))
    assert [len(first)] + [len(decoder.decode(chunk(pcm16(TONE), kind=WAV))) for _ in range(2)] == [
        1_600
    ] * 3


def test_metadata_behind_the_samples_of_a_wav_file_is_not_heard() -> None:
    decoder = AudioDecoder()
    tail = b"LIST" + struct.pack("<I", 8) + b"INFOxxxx"
    assert (
        len(decoder.decode(chunk(wav_header(16_000, 1, 16, 3_200) + pcm16(TONE) + tail, kind=WAV)))
        == 1_600
    )
    split = AudioDecoder()
    split.decode(chunk(wav_header(16_000, 1, 16, 6_400) + pcm16(TONE), kind=WAV))
    assert len(split.decode(chunk(pcm16(TONE) + tail, kind=WAV))) == 1_600


def test_every_chunk_may_be_a_whole_wav_file() -> None:
    decoder = AudioDecoder()
    whole = chunk(wav_header(16_000, 1, 16, 3_200) + pcm16(TONE), kind=WAV)
    assert [len(decoder.decode(whole)) for _ in range(3)] == [1_600] * 3


def test_floats_beyond_full_scale_are_clipped() -> None:
    data = np.array([1e30, -7.0, 0.25], "<f4").tobytes()
    assert AudioDecoder().decode(
        chunk(wav_header(16_000, 1, 32, len(data), tag=3) + data, kind=WAV)
    ).tolist() == [1.0, -1.0, 0.25]


def _wav(data: bytes, **changes: int) -> bytes:
    values = {"rate": 16_000, "channels": 1, "bits": 16, "tag": 1} | changes
    return (
        wav_header(values["rate"], values["channels"], values["bits"], len(data), tag=values["tag"])
        + data
    )


def _corrupted(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


MALFORMED = {
    "no bytes": (chunk(b""), "data"),
    "half a sample": (chunk(b"\0" * 3_201), "data"),
    "half a stereo sample": (chunk(b"\0" * 3_202, channels=2), "data"),
    "ten megabytes": (chunk(b"\0" * 10_000_000), "data"),
    "three seconds": (chunk(b"\0" * 96_000), "data"),
    "three channels": (chunk(b"\0" * 600, channels=3), "channels"),
    "no channels": (chunk(b"\0" * 600, channels=0), "channels"),
    "negative channels": (chunk(b"\0" * 600, channels=-1), "channels"),
    "rate zero": (chunk(b"\0" * 600, rate=0), "sampleRate"),
    "rate 7999": (chunk(b"\0" * 600, rate=7_999), "sampleRate"),
    "rate 96000": (chunk(b"\0" * 600, rate=96_000), "sampleRate"),
    "WAV of junk": (chunk(b"junk" * 100, kind=WAV), "data"),
    "WAV of four bytes": (chunk(b"RIFF", kind=WAV), "data"),
    "WAV header cut in fmt": (chunk(_wav(pcm16(TONE))[:30], kind=WAV), "data"),
    "WAV header cut before data": (chunk(_wav(pcm16(TONE))[:40], kind=WAV), "data"),
    "WAV without fmt": (
        chunk(b"RIFF\0\0\0\0WAVEdata" + struct.pack("<I", 4) + b"\0" * 4, kind=WAV),
        "data",
    ),
    "WAV with a fmt of 4 GB": (
        chunk(b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff" + b"\0" * 10, kind=WAV),
        "data",
    ),
    "WAV with NaN": (
        chunk(_wav(np.array([0, np.nan], "<f4").tobytes(), bits=32, tag=3), kind=WAV),
        "data",
    ),
    "WAV with infinity": (
        chunk(_wav(np.array([0, np.inf], "<f8").tobytes(), bits=64, tag=3), kind=WAV),
        "data",
    ),
    "WAV with no channels": (chunk(_wav(pcm16(TONE), channels=0), kind=WAV), "channels"),
    "WAV with six channels": (chunk(_wav(pcm16(TONE), channels=6), kind=WAV), "channels"),
    "WAV at 96 kHz": (chunk(_wav(pcm16(TONE), rate=96_000), kind=WAV), "sampleRate"),
    "WAV at 0 Hz": (chunk(_wav(pcm16(TONE), rate=0), kind=WAV), "sampleRate"),
    "WAV of ADPCM": (chunk(_wav(pcm16(TONE), tag=2, bits=4), kind=WAV), "data"),
    "WAV of ten seconds": (chunk(_wav(b"\0" * 320_000), kind=WAV), "data"),
    "WAV with an odd byte": (chunk(_wav(pcm16(TONE) + b"\0"), kind=WAV), "data"),
    "Opus of junk": (chunk(b"\xff\xff\xff\xff\xff", kind=OPUS), "data"),
    "Opus packet cut to its head": (chunk(b"\x03", kind=OPUS), "data"),
    "Opus packet with impossible frame sizes": (chunk(b"\x7f" * 50, kind=OPUS), "data"),
    "Ogg page cut in its header": (chunk(OGG[:20], kind=OPUS), "data"),
    "Ogg page cut in its body": (chunk(OGG[:-10], kind=OPUS), "data"),
    "Ogg with a flipped bit": (chunk(_corrupted(OGG), kind=OPUS), "data"),
    "Ogg followed by junk": (chunk(OGG + b"junk", kind=OPUS), "data"),
    "Ogg of another codec": (
        chunk(container_bytes(TONE, 16_000, "ogg", "flac"), kind=OPUS),
        "data",
    ),
    "Ogg of five seconds": (
        chunk(container_bytes(tone(48_000, 5.0), 48_000, "ogg", "libopus"), kind=OPUS),
        "data",
    ),
    "Ogg of two million empty packets": (chunk(OGG * 400, kind=OPUS), "data"),
}


@pytest.mark.parametrize(("bad", "field"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_bad_chunk_is_refused_with_the_name_of_its_field(bad: AudioChunk, field: str) -> None:
    with pytest.raises(LipSyncError) as caught:
        AudioDecoder().decode(bad)
    assert caught.value.details == {"field": f"audioChunk.{field}"}
    assert caught.value.recoverable


@pytest.mark.parametrize(("bad", "field"), MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.slow
def test_after_a_bad_chunk_the_next_one_is_decoded_as_if_nothing_had_happened(
    bad: AudioChunk, field: str
) -> None:
    good = {
        PCM: [chunk(pcm16(TONE))] * 3,
        WAV: [chunk(_wav(pcm16(TONE)), kind=WAV)] * 3,
        OPUS: [chunk(p, kind=OPUS) for p in PACKETS[:3]],
    }
    clean, hurt = AudioDecoder(), AudioDecoder()
    for piece in good[bad.format]:
        expected = clean.decode(piece)
        assert np.array_equal(hurt.decode(piece), expected)
        if bad.data != b"RIFF" and not bad.data.startswith(
            b"junk"
        ):  # a turn that began with a WAV header takes these for samples
            with pytest.raises(LipSyncError):
                hurt.decode(bad)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        (chunk(pcm16(TONE), rate=24_000), "sampleRate"),
        (chunk(pcm16(TONE), channels=2), "channels"),
        (chunk(_wav(pcm16(TONE)), kind=WAV), "format"),
        (chunk(PACKETS[0], kind=OPUS), "format"),
    ],
)
def test_a_turn_may_not_change_its_kind_of_audio(changed: AudioChunk, field: str) -> None:
    decoder = AudioDecoder()
    decoder.decode(chunk(pcm16(TONE)))
    with pytest.raises(LipSyncError, match=f"audioChunk.{field}"):
        decoder.decode(changed)
    assert len(decoder.decode(chunk(pcm16(TONE)))) == 1_600


def test_a_refused_first_chunk_does_not_decide_the_turns_kind() -> None:
    decoder = AudioDecoder()
    with pytest.raises(LipSyncError):
        decoder.decode(chunk(b"\0\0\0", rate=24_000))
    assert len(decoder.decode(chunk(_wav(pcm16(TONE)), kind=WAV))) == 1_600


def test_the_longest_chunk_is_an_argument() -> None:
    assert len(AudioDecoder(max_chunk_s=4.0).decode(chunk(b"\0" * 96_000))) == 48_000


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (chunk(pcm16(TONE)), 0.1),
        (chunk(pcm16(TONE), channels=2), 0.05),
        (chunk(_wav(pcm16(TONE), rate=8_000), kind=WAV), 0.2),
        (chunk(PACKETS[0], kind=OPUS), 0.02),
        (chunk(b"RIFF", kind=WAV), 0.0),
        (chunk(b"", kind=OPUS), 0.0),
        (chunk(b"", rate=0, channels=0), 0.0),
    ],
)
def test_a_chunks_duration_is_known_without_decoding_it(sent: AudioChunk, seconds: float) -> None:
    assert estimated_duration_s(sent) == pytest.approx(seconds)


def test_an_ogg_chunks_duration_is_estimated_within_a_factor() -> None:
    assert 0.3 < estimated_duration_s(chunk(OGG, kind=OPUS)) < 6.0
    assert len(ogg_pages(OGG)) >= 3


@pytest.mark.parametrize("seed", range(10))
def test_damaged_wav_and_junk_never_raise_anything_but_our_own_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    file = wav_header(16_000, 2, 24, 600, extensible=bool(seed % 2)) + bytes(600)
    decoder = AudioDecoder()
    for number in range(200):
        data = bytearray(file if number % 4 else rng.bytes(rng.integers(1, 200)))
        for position in rng.integers(0, min(len(data), 60), rng.integers(0, 4)):
            data[position] = rng.integers(0, 256)
        sent = chunk(
            bytes(data[: rng.integers(1, len(data) + 1)]), kind=list(AudioFormat)[number % 3]
        )
        assert estimated_duration_s(sent) >= 0.0
        try:
            samples = decoder.decode(sent)
        except LipSyncError as error:
            assert error.details["field"].startswith("audioChunk.")
        else:
            assert np.isfinite(samples).all()
