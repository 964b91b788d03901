"""With a bucket configured, every command keeps its faces there, and none in a folder."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from bucket_emulator import BUCKET, bucket_client, bucket_emulator
from closed_port import closed_port
from face_packages import package, put
from http_service import recording
from landmarker import require_face_landmarker

from orchestrator.__main__ import main
from orchestrator.cli.doctor.check import State
from orchestrator.cli.doctor.storage_checks import storage
from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.faces.storage import gcs
from orchestrator.faces.storage.gcs import BucketFaceStore
from orchestrator.faces.storage.open_store import open_store

NO_CREDENTIALS = (
    "bucket 'faces' cannot be opened: .*; set GOOGLE_APPLICATION_CREDENTIALS to the key file"
)


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of the emulator, where commands find the bucket that their environment names."""
    with bucket_emulator() as port:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("LIPSYNC_BUCKET", BUCKET)
        monkeypatch.chdir(tmp_path)
        yield port


@pytest.fixture
def without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No account of this machine is found."""
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def _blobs(port: int) -> list[str]:
    return [blob.name for blob in bucket_client(port).list_blobs(BUCKET)]


def test_an_enrolled_face_lies_in_the_bucket(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_face_landmarker()
    data = pytest.importorskip(
        "skimage.data", reason="the portrait comes with scikit-image: make install-dev"
    )
    cv2.imwrite("portrait.png", data.astronaut()[:, :, ::-1])
    assert main(["enroll", "portrait.png", "--user", "ann", "--id", "f", "--consent"]) == 0
    assert "face-models/ann/f/metadata.json" in _blobs(port)
    told = capsys.readouterr().out
    assert f"stored in the bucket {BUCKET}" in told
    assert f"lipsync render AUDIO --bucket {BUCKET} --user ann --face f" in told
    assert not (tmp_path / "storage").exists()


def test_a_face_is_rendered_from_the_bucket(port: int, tmp_path: Path) -> None:
    asyncio.run(put(BucketFaceStore(BUCKET, bucket_client(port)), "ann", "f", package()))
    Path("speech.wav").write_bytes(recording(0.3))
    assert (
        main(
            [
                "render",
                "speech.wav",
                "--user",
                "ann",
                "--face",
                "f",
                "--model",
                "static",
                "-o",
                "out.mp4",
            ]
        )
        == 0
    )
    assert (tmp_path / "out.mp4").stat().st_size > 0
    assert not (tmp_path / "storage").exists()


def test_the_doctor_tries_the_bucket_and_leaves_nothing_there(port: int) -> None:
    check = storage(ServiceConfig(bucket=BUCKET))
    assert (check.name, check.state) == (f"bucket {BUCKET}", State.OK)
    assert _blobs(port) == []


def test_the_doctor_says_that_a_bucket_is_not_there(port: int) -> None:
    check = storage(ServiceConfig(bucket="another"))
    assert check.state is State.MISSING
    assert "another" in check.finding and "Storage Object User" in check.fix


def test_the_doctor_says_that_a_bucket_does_not_answer(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs, "CALL_TIMEOUT_S", 0.3)
    with closed_port() as nobody:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{nobody}")
        assert storage(ServiceConfig(bucket=BUCKET)).state is State.MISSING


@pytest.mark.usefixtures("without_credentials")
def test_without_credentials_it_is_said_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=NO_CREDENTIALS):
        open_store(tmp_path, BUCKET)
    check = storage(ServiceConfig(bucket=BUCKET))
    assert check.state is State.MISSING and "GOOGLE_APPLICATION_CREDENTIALS" in check.finding


@pytest.mark.usefixtures("without_credentials")
def test_serving_without_credentials_ends_in_words_and_no_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with closed_port() as nobody:
        there_is_none = f"127.0.0.1:{nobody}"
        assert (
            main(["serve", "--port", "0", "--bucket", BUCKET, "--triton-url", there_is_none]) == 1
        )
    said = capfd.readouterr().err
    assert "set GOOGLE_APPLICATION_CREDENTIALS" in said and "Traceback" not in said


def test_without_googles_client_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "orchestrator.faces.storage.gcs")
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    with pytest.raises(ConfigError, match=r"pip install 'lipsync-service\[gcs\]'"):
        open_store(tmp_path, BUCKET)
