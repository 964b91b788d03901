"""The server and the face landmark model come from wheels of exact hashes, whole or not at all."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.__main__ import main
from orchestrator.core import downloads
from orchestrator.core.downloads import FACE_LANDMARKER, TRITONSERVER, Download
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode

PYTHON = downloads.PYTHON
SERVER_MEMBERS = {
    "pytriton/tritonserver/bin/tritonserver": True,
    "pytriton/tritonserver/backends/python/libtriton_python.so": True,
    f"pytriton/tritonserver/python_backend_stubs/{PYTHON}/triton_python_backend_stub": True,
    "pytriton/tritonserver/python_backend_stubs/3.8/triton_python_backend_stub": False,
    "nvidia_pytriton.libs/libcurl-75a2bf80.so.4.7.0": True,
    f"nvidia_pytriton.libs/libpython3-419a3a08.{PYTHON.split('.')[1]}.so.1.0": True,
    "nvidia_pytriton.libs/libpython3-419a3a08.8.so.1.0": False,
    "nvidia_pytriton-0.7.0.dist-info/licenses/LICENSE": True,
    "pytriton/triton.py": False,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIPSYNC_DOWNLOADS", str(tmp_path / "kept here"))
    return tmp_path / "kept here"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    file = tmp_path / "wheel.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for member in SERVER_MEMBERS:
            archive.writestr(member, member)
    return file


@pytest.fixture
def server(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """As the real one, with the hash of the small wheel."""
    known = replace(TRITONSERVER, sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(downloads, "DOWNLOADS", (known, FACE_LANDMARKER))
    monkeypatch.setattr("orchestrator.cli.fetch.DOWNLOADS", (known, FACE_LANDMARKER))
    return known


def files_below(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_only_what_the_server_and_this_python_need_is_kept(server: Download, wheel: Path) -> None:
    kept = {member for member, is_kept in SERVER_MEMBERS.items() if is_kept}
    stub = f"pytriton/tritonserver/python_backend_stubs/{PYTHON}/triton_python_backend_stub"
    beside_its_backend = "pytriton/tritonserver/backends/python/triton_python_backend_stub"
    assert files_below(downloads.fetch(server, wheel)) == kept - {stub} | {beside_its_backend}


def test_programs_may_be_executed(server: Download, wheel: Path) -> None:
    root = downloads.fetch(server, wheel)
    programs = [
        file for file in root.rglob("*") if file.name in downloads.EXECUTABLES and file.is_file()
    ]
    assert len(programs) == 2 and all(file.stat().st_mode & 0o111 for file in programs)


def test_a_wheel_with_another_hash_is_refused_and_leaves_nothing(
    server: Download, wheel: Path, folder: Path
) -> None:
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(LipSyncError, match=r"SHA-256 .*nvidia-pytriton 0\.7\.0") as raised:
        downloads.fetch(server, wheel)
    assert raised.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED
    assert not server.is_present() and not list(folder.iterdir())


def test_what_is_fetched_again_takes_the_place_of_damaged_files(
    server: Download, wheel: Path
) -> None:
    first = downloads.fetch(server, wheel)
    (first / "pytriton/tritonserver/bin/tritonserver").unlink()
    assert (downloads.fetch(server, wheel) / "pytriton/tritonserver/bin/tritonserver").is_file()


def test_a_folder_that_cannot_be_written_is_named_with_the_variable_that_moves_it(
    server: Download, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("LIPSYNC_DOWNLOADS", str(tmp_path / "a file" / "below"))
    with pytest.raises(LipSyncError, match="set LIPSYNC_DOWNLOADS to a folder you may write to"):
        downloads.fetch(server, wheel)


@pytest.mark.slow
def test_an_index_without_the_wheel_is_reported_with_the_way_around(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(LipSyncError, match=r"was not downloaded: .*lipsync fetch --wheel FILE"):
        downloads.fetch(FACE_LANDMARKER)


def test_the_command_takes_a_wheel_file_by_what_it_is(
    server: Download, wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", "--wheel", str(wheel)]) == 0
    assert server.is_present()
    assert main(["fetch", "tritonserver"]) == 0
    assert "tritonserver: present in" in capsys.readouterr().out


def test_the_command_says_which_wheels_it_takes(
    server: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.whl").write_bytes(b"something else")
    assert main(["fetch", "--wheel", str(tmp_path / "other.whl")]) == 1
    assert "expected the wheel of nvidia-pytriton 0.7.0" in capsys.readouterr().err
    assert main(["fetch", "--wheel", str(tmp_path / "absent.whl")]) == 1
    assert "absent.whl: No such file" in capsys.readouterr().err
    assert main(["fetch", "triton"]) == 1
    assert (
        "triton cannot be fetched; known are tritonserver, face-landmarker"
        in capsys.readouterr().err
    )
