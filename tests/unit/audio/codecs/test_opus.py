"""Opus arrives as bare packets or Ogg pages and comes out aligned with what was recorded."""

from __future__ import annotations

import numpy as np
import pytest
from audio_recordings import (
    chunk,
    container_bytes,
    delay_samples,
    ogg_pages,
    opus_packets,
    syllables,
)

from orchestrator.audio.codecs.decoder import AudioDecoder
from orchestrator.audio.codecs.ogg import page_crc, read_pages
from orchestrator.audio.codecs.opus_packet import packet_samples
from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import AudioFormat, Samples

SPEECH = syllables(48_000, 1.5, -20.0)
FILE = container_bytes(SPEECH, 48_000, "ogg", "libopus")
PAGES = ogg_pages(FILE)
HEAD, AUDIO = PAGES[:2], PAGES[2:]


def decoded(*pieces: bytes, decoder: AudioDecoder | None = None) -> Samples:
    decoder = decoder or AudioDecoder()
    return np.concatenate(
        [decoder.decode(chunk(piece, 48_000, kind=AudioFormat.OPUS)) for piece in pieces]
    )


def repaged(packets: list[bytes], serial: int, sequence: int, granule: int, flags: int) -> bytes:
    """One Ogg page around packets, made by the test so that every field can be chosen."""
    lacing = b"".join(bytes([255] * (len(p) // 255) + [len(p) % 255]) for p in packets)
    return page_of(lacing, b"".join(packets), serial, sequence, granule, flags)


def page_of(
    lacing: bytes, body: bytes, serial: int, sequence: int, granule: int, flags: int
) -> bytes:
    numbers = (
        granule.to_bytes(8, "little", signed=True)
        + serial.to_bytes(4, "little")
        + sequence.to_bytes(4, "little")
    )
    page = b"OggS\0" + bytes([flags]) + numbers + bytes(4) + bytes([len(lacing)]) + lacing + body
    return page[:22] + page_crc(page).to_bytes(4, "little") + page[26:]


def test_an_ogg_file_has_the_length_and_the_timing_of_what_was_recorded() -> None:
    samples = decoded(FILE)
    assert len(samples) == len(SPEECH)
    assert abs(delay_samples(samples, SPEECH)) < 2


@pytest.mark.parametrize("with_head", [False, True], ids=["head once", "head before every chunk"])
def test_page_runs_join_without_a_seam(with_head: bool) -> None:
    head = b"".join(HEAD)
    runs = [head + AUDIO[0]] + [(head if with_head else b"") + page for page in AUDIO[1:]]
    assert np.array_equal(decoded(*runs), decoded(FILE))


def test_pages_of_a_few_packets_join_without_a_seam() -> None:
    packets = [packet for page in read_pages(FILE)[2:] for packet in page.complete]
    runs = [
        repaged(packets[i : i + 5], serial=7, sequence=2 + i, granule=960 * (i + 5), flags=0)
        for i in range(0, len(packets), 5)
    ]
    head = [
        repaged([HEAD[0][28:]], serial=7, sequence=0, granule=0, flags=2),
        repaged([b"OpusTags" + bytes(900)], 7, 1, 0, 0),
    ]
    samples = decoded(b"".join(head), *runs)
    whole = decoded(FILE)
    assert np.array_equal(samples[: len(whole)], whole)


def test_every_chunk_may_be_a_whole_ogg_file() -> None:
    once = decoded(FILE)
    assert np.array_equal(decoded(FILE, FILE), np.concatenate((once, once)))


def test_a_stream_joined_in_the_middle_is_decoded() -> None:
    assert len(decoded(*AUDIO[:1])) > 0


def test_a_packet_that_spans_two_chunks_is_joined_and_one_whose_start_was_lost_is_dropped() -> None:
    packet = b"\x0c" + bytes(509)  # 510 bytes: lacing 255, 255, 0
    first = page_of(bytes([255]), packet[:255], serial=1, sequence=4, granule=-1, flags=0)
    second = page_of(bytes([255, 0]), packet[255:], serial=1, sequence=5, granule=2880, flags=1)
    assert len(decoded(first, second)) == packet_samples(packet)
    assert len(decoded(second)) == 0


def test_bare_packets_decode_one_by_one() -> None:
    samples = decoded(*opus_packets(SPEECH))
    encoder_delay = delay_samples(samples, SPEECH)
    assert (
        250 < encoder_delay < 330
    )  # bare packets carry no pre-skip, so libopus' own 312 samples stay


def test_the_output_gain_of_the_header_is_applied() -> None:
    head = bytearray(HEAD[0][28:])
    head[16:18] = (-6 * 256).to_bytes(2, "little", signed=True)
    serial = read_pages(HEAD[0])[0].serial
    quieter = decoded(repaged([bytes(head)], serial, 0, 0, 2) + HEAD[1] + b"".join(AUDIO))
    assert np.allclose(quieter, decoded(FILE) * 10 ** (-6 / 20), atol=1e-6)


def test_surround_streams_are_refused_by_their_channel_count() -> None:
    head = bytearray(HEAD[0][28:])
    head[9], head[18] = 6, 1
    with pytest.raises(LipSyncError, match=r"audioChunk\.channels"):
        decoded(repaged([bytes(head)], 1, 0, 0, 2))


def test_a_second_stream_without_its_head_is_refused() -> None:
    decoder = AudioDecoder()
    decoded(FILE, decoder=decoder)
    with pytest.raises(LipSyncError, match="second Ogg stream"):
        decoded(repaged([b"\x0c\0\0"], 99, 7, 960, 0), decoder=decoder)


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"", 0),
        (b"\x00", 480),
        (b"\x18", 2880),
        (b"\x60", 480),
        (b"\x80", 120),
        (b"\xf9", 1920),
        (b"\x03", 0),
        (b"\x03\x03", 1440),
        (b"\xff\x3f", 0),
    ],
)
def test_a_packet_tells_its_own_length(packet: bytes, samples: int) -> None:
    assert packet_samples(packet) == samples


@pytest.mark.parametrize("seed", range(20))
def test_damaged_ogg_never_raises_anything_but_our_own_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    decoder = AudioDecoder()
    for _ in range(20):
        data = bytearray(FILE)
        for position in rng.integers(0, len(data), 3):
            data[position] = rng.integers(0, 256)
        cut = bytes(data[: rng.integers(1, len(data))])
        try:
            decoder.decode(chunk(cut, kind=AudioFormat.OPUS))
        except LipSyncError as error:
            assert error.details["field"].startswith("audioChunk.")
