"""A stranger's recording is read in a process of its own: the same samples, and within bounds
whatever the file says.
"""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from audio_recordings import container_bytes, pcm16, syllables, tone, wav_header

from orchestrator.audio.files import read_audio, read_sound
from orchestrator.audio.sandboxed_files import (
    MEMORY_BYTES,
    RECORDING,
    REFUSED,
    SAMPLES,
    _decoded,
    read_apart,
)
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode

pytestmark = pytest.mark.slow

SPEECH = container_bytes(syllables(48_000, 1.0, -20.0), 48_000, "flac", "flac", "s16")


def _box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body


def _full(name: bytes, *parts: bytes) -> bytes:
    return _box(name, bytes(4), *parts)


def m4a_that_announces(count: int) -> bytes:
    """Under a kilobyte, whose tables speak of `count` samples of one byte: decoders lay out an
    entry for each.
    """
    config = bytes((3, 25, 0, 0, 0, 4, 17, 0x40, 0x15, *bytes(11), 5, 2, 0x11, 0x88, 6, 1, 2))
    mp4a = _box(
        b"mp4a",
        bytes(6),
        b"\0\1",
        bytes(8),
        struct.pack(">HHHHI", 1, 16, 0, 0, 48_000 << 16),
        _full(b"esds", config),
    )
    tables = _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), mp4a),
        _full(b"stts", struct.pack(">III", 1, count, 1024)),
        _full(b"stsc", struct.pack(">IIII", 1, 1, count, 1)),
        _full(b"stsz", struct.pack(">II", 1, count)),
        _full(b"stco", struct.pack(">II", 1, 40)),
    )
    source = _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ")))
    media = _box(
        b"mdia",
        _full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 48_000, 0, 0, 0)),
        _full(b"hdlr", bytes(4), b"soun", bytes(13)),
        _box(b"minf", _full(b"smhd", bytes(4)), source, tables),
    )
    movie = _box(
        b"moov", _full(b"mvhd", bytes(96)), _box(b"trak", _full(b"tkhd", bytes(80)), media)
    )
    return _box(b"ftyp", b"M4A ", bytes(4), b"M4A ") + _box(b"mdat", bytes(100)) + movie


async def test_it_gives_what_reading_here_gives() -> None:
    sound = await read_apart(SPEECH, max_duration_s=2.0)
    here = read_sound(SPEECH)
    assert sound.rate_hz == here.rate_hz
    assert np.array_equal(sound.samples, here.samples)
    heard = await read_apart(SPEECH, max_duration_s=2.0, as_heard=True)
    assert np.array_equal(heard.samples[0], read_audio(SPEECH))


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        (b"junk" * 100, "is not WAV"),
        (wav_header(16_000, 1, 16, 64_000) + pcm16(tone(16_000, 2.0)), "longer than 1 s"),
    ],
    ids=["junk", "too long"],
)
async def test_what_is_wrong_is_said_in_the_same_words(recording: bytes, said: str) -> None:
    with pytest.raises(LipSyncError, match=said) as caught:
        await read_apart(recording, max_duration_s=1.0)
    assert caught.value.code is LipSyncErrorCode.AUDIO_PROCESSING_FAILED
    assert caught.value.details == {"field": "audio"}


async def test_a_small_file_that_asks_for_gigabytes_is_refused() -> None:
    with pytest.raises(LipSyncError) as caught:
        await read_apart(m4a_that_announces(200_000_000), max_duration_s=1.0)
    assert caught.value.details == {"field": "audio"}


PEAK_OF = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""
"""In between, since a program's peak counts that of the process that started it: here one that is
small.
"""


def test_a_small_file_that_asks_for_gigabytes_gets_none(tmp_path: Path) -> None:
    (tmp_path / RECORDING).write_bytes(m4a_that_announces(200_000_000))
    reading = [
        sys.executable,
        "-m",
        "orchestrator.audio.sandboxed_files",
        str(tmp_path),
        "1.0",
        "whole",
    ]
    answer = subprocess.run(
        [sys.executable, "-c", PEAK_OF, *reading], stdout=subprocess.PIPE, check=True, text=True
    )
    status, peak_bytes = map(int, answer.stdout.split())
    assert status == REFUSED
    assert peak_bytes < MEMORY_BYTES + 200 * 2**20


class FullFolder(TemporaryDirectory[str]):
    """A temporary folder that takes the recording, and then nothing more."""

    def __enter__(self) -> str:
        name = super().__enter__()
        (Path(name) / SAMPLES).symlink_to("/dev/full")
        return name


async def test_a_temporary_folder_that_is_full_is_no_fault_of_the_recordings(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("orchestrator.audio.sandboxed_files.TemporaryDirectory", FullFolder)
    with pytest.raises(LipSyncError, match="no room") as caught:
        await read_apart(SPEECH, max_duration_s=2.0)
    assert (caught.value.code, caught.value.recoverable) == (LipSyncErrorCode.SESSION_LIMIT, True)
    assert caught.value.details["retryAfterS"] > 0
    assert "No space left on device" in caplog.text


async def test_a_machine_without_a_temporary_folder_says_so_in_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(LipSyncError, match="no room"):
        await read_apart(SPEECH, max_duration_s=2.0)
    assert str(tmp_path / "gone") in caplog.text


async def test_a_reading_that_fails_in_a_way_that_nobody_foresaw_is_told_to_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / RECORDING).write_bytes(SPEECH)
    with pytest.raises(LipSyncError, match="more memory or time"):
        await _decoded(tmp_path, "no number", "whole")  # type: ignore[arg-type]
    assert "ended with status 1" in caplog.text
    assert "ValueError: could not convert string to float" in caplog.text


async def test_a_reading_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / RECORDING)
    reading = asyncio.create_task(_decoded(tmp_path, 1.0, "whole"))
    sender = await asyncio.to_thread(
        os.open, tmp_path / RECORDING, os.O_WRONLY
    )  # returns once it is being read
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(BrokenPipeError):
        os.write(sender, b"more")
    os.close(sender)
