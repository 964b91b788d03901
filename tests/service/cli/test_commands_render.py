"""`lipsync render` and `lipsync enroll` as a user runs them, over the shipped models, on the demo
face and on a photo.
"""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import sys
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from landmarker import require_face_landmarker

from orchestrator.__main__ import main
from orchestrator.core.paths import SAMPLES

SAMPLE = SAMPLES / "hello.wav"
SECONDS = 2.03


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """The first two seconds of a sample, in stereo."""
    path = tmp_path / "speech.wav"
    with wave.open(str(SAMPLE)) as source, wave.open(str(path), "w") as target:
        count = round(SECONDS * source.getframerate())
        samples = np.frombuffer(source.readframes(count), "<i2").reshape(-1, source.getnchannels())[
            :, :1
        ]
        target.setparams((2, 2, source.getframerate(), 0, "NONE", ""))
        target.writeframes(np.repeat(samples, 2, axis=1).tobytes())
    return path


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A public-domain portrait."""
    require_face_landmarker()
    data = pytest.importorskip(
        "skimage.data", reason="the portrait comes with scikit-image: make install-dev"
    )
    path = tmp_path_factory.mktemp("photos") / "portrait.png"
    cv2.imwrite(str(path), data.astronaut()[:, :, ::-1])
    return path


def _lipsync(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "orchestrator",
        *map(str, arguments),
        "--storage",
        str(folder / "storage"),
    ]
    environment = os.environ | {"PYTHONPATH": str(SAMPLE.parents[4])}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_recording_becomes_a_movie_as_long_as_it_is(speech: Path, tmp_path: Path) -> None:
    done = _lipsync(tmp_path, "render", speech, "-o", "out.mp4", "--fps", 25, "--size", 128)
    assert done.returncode == 0, done.stderr
    assert "x real time" in done.stdout
    with av.open(str(tmp_path / "out.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, video.average_rate) == (128, 128, 25)
        assert abs(video.frames - math.ceil(SECONDS * 25)) <= 1
        assert (
            abs(
                float(video.start_time * video.time_base)
                - float(audio.start_time * audio.time_base)
            )
            < 0.005
        )
        assert float(audio.duration * audio.time_base) == pytest.approx(SECONDS, abs=0.005)
        assert audio.codec_context.layout.nb_channels == 2
        assert (
            "Synthetic media" in container.metadata["comment"]
            and "tpsm" in container.metadata["comment"]
        )


def test_the_mouth_moves_in_the_movie(speech: Path, tmp_path: Path) -> None:
    assert (
        main(["render", str(speech), "-o", str(tmp_path / "out.mp4"), "--storage", str(tmp_path)])
        == 0
    )
    with av.open(str(tmp_path / "out.mp4")) as container:
        pictures = np.stack(
            [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        ).astype(np.float32)
    lips, forehead = pictures[:, 160:200, 100:156], pictures[:, 60:90, 100:156]
    assert lips.std(axis=0).mean() > 2.0 * forehead.std(axis=0).mean()


def test_a_photo_is_rendered_without_being_stored(
    photo: Path, speech: Path, tmp_path: Path
) -> None:
    done = _lipsync(tmp_path, "render", speech, "--face", photo, "-o", "out.mp4", "--size", 128)
    assert done.returncode == 0, done.stderr
    assert "agreed to be animated" in done.stderr
    assert not (tmp_path / "storage").exists()


def test_static_draws_a_face_at_rest(speech: Path, tmp_path: Path) -> None:
    assert (
        main(
            [
                "render",
                str(speech),
                "-o",
                str(tmp_path / "out.mp4"),
                "--model",
                "static",
                "--storage",
                str(tmp_path),
            ]
        )
        == 0
    )


BAD = {
    "a model that is not there": (["--model", "wav2lip"], "wav2lip cannot be used"),
    "a face that nobody enrolled": (["--face", "nobody"], "lipsync enroll"),
    "a photo that is not there": (["--face", "nobody.jpg"], "nobody.jpg does not exist"),
}


@pytest.mark.parametrize(("flags", "words"), list(BAD.values()), ids=list(BAD))
def test_what_cannot_be_rendered_is_said_in_one_line(
    flags: list[str], words: str, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.mp4"
    assert main(["render", str(speech), "-o", str(output), "--storage", str(tmp_path), *flags]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lipsync: ") and words in line
    assert not output.exists()


def test_a_file_without_sound_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no sound at all")
    assert (
        main(
            [
                "render",
                str(tmp_path / "notes.txt"),
                "-o",
                str(tmp_path / "out.mp4"),
                "--storage",
                str(tmp_path),
            ]
        )
        == 1
    )
    assert capsys.readouterr().err.startswith("lipsync: audio: the file is not WAV")


@pytest.mark.parametrize("flags", [["--fps", "30"], ["--size", "300"]])
def test_numbers_out_of_range_are_bad_usage(flags: list[str], speech: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["render", str(speech), *flags])
    assert stop.value.code == 2


@pytest.mark.parametrize(
    "flags", [["--model", "unheard-of"], ["-o", "no-such-folder/out.mp4"], ["-o", "."]]
)
def test_what_does_not_exist_is_bad_usage(
    flags: list[str], speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(speech), *flags]) == 2
    assert flags[1] in capsys.readouterr().err


@pytest.mark.parametrize("link", [None, "hard", "symbolic"])
@pytest.mark.parametrize("source", ["audio", "photo"])
def test_a_recording_and_a_photo_are_never_overwritten(
    source: str, link: str | None, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "face.png"
    cv2.imwrite(str(photo), np.full((64, 64, 3), 128, np.uint8))
    kept = speech if source == "audio" else photo
    before, output = kept.read_bytes(), kept
    if link is not None:
        output = tmp_path / "out.mp4"
        output.symlink_to(kept) if link == "symbolic" else output.hardlink_to(kept)
    assert (
        main(
            [
                "render",
                str(speech),
                "--face",
                str(photo),
                "-o",
                str(output),
                "--storage",
                str(tmp_path),
            ]
        )
        == 2
    )
    assert "--output" in capsys.readouterr().err
    assert kept.read_bytes() == before


def test_enrolling_stores_the_face_and_says_how_good_it_is(
    photo: Path, speech: Path, tmp_path: Path
) -> None:
    done = _lipsync(tmp_path, "enroll", photo, "--user", "ada", "--id", "passport", "--consent")
    assert done.returncode == 0, done.stderr
    assert (
        "face passport of user ada" in done.stdout
        and "quality" in done.stdout
        and "warning: " in done.stdout
    )
    folder = tmp_path / "storage/face-models/ada/passport"
    assert (folder / "metadata.json").is_file()
    assert len(list(folder.glob("derived/face-maps.*.bin"))) == 3, "solved for every size on offer"
    tip = done.stdout.partition("try it: lipsync ")[2]
    assert f"--storage {shlex.quote(str(tmp_path / 'storage'))} " in tip
    rendered = _lipsync(
        tmp_path, *shlex.split(tip.replace("AUDIO", shlex.quote(str(speech)))), "--size", 128
    )
    assert rendered.returncode == 0, rendered.stderr


def test_a_refused_photo_gets_its_reasons_line_by_line(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((400, 400, 3), 128, np.uint8))
    assert (
        main(
            [
                "enroll",
                str(tmp_path / "wall.png"),
                "--user",
                "ada",
                "--consent",
                "--storage",
                str(tmp_path),
            ]
        )
        == 1
    )
    heading, reason = capsys.readouterr().err.splitlines()
    assert heading == "lipsync: the photo cannot be used:"
    assert "NO_FACE" in reason


def test_enrolling_asks_for_consent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["enroll", str(tmp_path / "any.png"), "--user", "ada", "--storage", str(tmp_path)])
        == 2
    )
    assert "--consent" in capsys.readouterr().err
    assert not (tmp_path / "face-models").exists()
