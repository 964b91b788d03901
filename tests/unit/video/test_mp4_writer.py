"""An MP4 keeps pictures and sound together whatever the rates are, says what it is, and is there
whole or not at all.
"""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.audio.files import Sound
from orchestrator.video.mp4_writer import Movie

SIZE, MOMENT_S = 128, 1.0
SKIN = (230, 180, 150)


def _click(rate_hz: int, channels: int, seconds: float) -> Sound:
    """Silence with 20 ms of tone that begins at MOMENT_S."""
    samples = np.zeros((channels, round(seconds * rate_hz)), np.float32)
    begin, count = round(MOMENT_S * rate_hz), round(0.02 * rate_hz)
    samples[:, begin : begin + count] = 0.8 * np.sign(
        np.sin(2 * np.pi * 1000.0 * (np.arange(count) + 0.5) / rate_hz)
    )
    return Sound(samples, rate_hz)


def _flashing(frames: int, lit: int) -> list[NDArray[np.uint8]]:
    pictures = [np.zeros((SIZE, SIZE, 3), np.uint8) for _ in range(frames)]
    pictures[lit][:] = SKIN
    return pictures


def _write(path: Path, sound: Sound, fps: float) -> None:
    frames = int(np.ceil(sound.duration_s * fps))
    with Movie(path, sound, size=SIZE, fps=fps, note="made up") as movie:
        for picture in _flashing(frames, round(MOMENT_S * fps)):
            movie.add([picture])


def _seen_s(path: Path) -> tuple[float, NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            if picture.mean() > 60:
                return float(frame.time), picture
    raise AssertionError("no flash")


def _heard_s(path: Path) -> float:
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)[0]
    return float(frames[0].time) + float(np.argmax(np.abs(samples) > 0.3)) / frames[0].sample_rate


@pytest.mark.parametrize(
    ("rate_hz", "channels", "fps"),
    [(48_000, 2, 20.0), (44_100, 2, 25.0), (22_050, 1, 15.0), (16_000, 1, 20.0)],
)
def test_a_flash_and_a_click_of_one_moment_stay_together(
    rate_hz: int, channels: int, fps: float, tmp_path: Path
) -> None:
    path = tmp_path / "out.mp4"
    _write(path, _click(rate_hz, channels, 2.03), fps)
    seen_s, _ = _seen_s(path)
    assert seen_s == pytest.approx(MOMENT_S, abs=1e-3)
    assert _heard_s(path) == pytest.approx(MOMENT_S, abs=2e-3)


def test_streams_begin_at_zero_and_last_as_long_as_the_sound(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    _write(path, _click(48_000, 2, 2.03), 20.0)
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.start_time, audio.start_time) == (0, 0)
        assert video.frames == 41
        assert video.duration * video.time_base == Fraction(41, 20)
        assert float(audio.duration * audio.time_base) == pytest.approx(2.03, abs=1e-3)
        assert (audio.rate, audio.codec_context.layout.nb_channels) == (48_000, 2)


def test_a_rate_that_aac_does_not_know_is_resampled(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    _write(path, _click(96_000, 1, 1.5), 20.0)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].rate == 48_000
    assert _heard_s(path) == pytest.approx(MOMENT_S, abs=2e-3)


def test_colours_come_back_and_are_tagged_as_they_were_coded(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    _write(path, _click(16_000, 1, 1.5), 20.0)
    _, picture = _seen_s(path)
    assert np.abs(picture.mean(axis=(0, 1)) - SKIN).max() < 3.0
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (
            context.pix_fmt,
            context.colorspace,
            context.color_primaries,
            context.color_range,
        ) == ("yuv420p", 6, 6, 1)


def test_the_note_travels_in_the_metadata_and_the_index_stands_first(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    _write(path, _click(16_000, 1, 1.5), 20.0)
    with av.open(str(path)) as container:
        assert container.metadata["comment"] == container.metadata["description"] == "made up"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_movie_that_fails_leaves_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_text("an earlier one")
    with (
        pytest.raises(RuntimeError),
        Movie(path, _click(16_000, 1, 1.5), size=SIZE, fps=20.0, note="") as movie,
    ):
        movie.add(_flashing(5, 0))
        raise RuntimeError
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    assert path.read_text() == "an earlier one"


def test_a_movie_that_cannot_be_finished_leaves_what_stood_there_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Movie) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    path = tmp_path / "out.mp4"
    path.write_text("an earlier one")
    monkeypatch.setattr(Movie, "_finish", full)
    with pytest.raises(OSError, match="no space left"):
        _write(path, _click(16_000, 1, 1.5), 20.0)
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    assert path.read_text() == "an earlier one"
