"""The fetched `tritonserver` and what it needs around it: libraries, backends, environment
variables.

The standard library only, so that the server can be started before anything heavy is imported.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.core.child_environment import SINGLE_THREADED
from orchestrator.core.downloads import (
    FETCH_COMMAND,
    FOLDER_VARIABLE,
    STUB,
    TRITONSERVER,
    tritonserver,
)
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.paths import IMPORT_ROOT, ONNXRUNTIME_BACKEND
from orchestrator.inference.embedded.run_lock import TEMPORARY_MEND

SHELL: Final = "bash"

SERVER_TEMPORARY: Final = "/tmp"
"""Stands in the Python backend's code."""

BACKENDS: Final = "backends"
MODELS: Final = "models"
"""Names in the run folder, which is the server's current directory."""


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """Paths of the fetched server's parts."""

    server: Path
    backends: Path
    stub: Path
    libraries: Path


def find_server() -> ServerFiles:
    """Locate the fetched server; MODEL_LOAD_FAILED with the command to run where it is absent or
    incomplete.
    """
    unpacked = tritonserver()
    root = unpacked / "pytriton" / "tritonserver"
    files = ServerFiles(
        server=root / "bin" / "tritonserver",
        backends=root / "backends",
        stub=root / "backends" / "python" / STUB,
        libraries=unpacked / "nvidia_pytriton.libs",
    )
    for program in (files.server, files.stub):
        _check_program(program)
    return files


def _check_program(program: Path) -> None:
    """Refuse one that the kernel would not run, as on a file system that is mounted `noexec`."""
    if not program.is_file():
        raise _unusable(f"{program} is gone: run `{FETCH_COMMAND} {TRITONSERVER.name} --again`")
    if not os.access(program, os.X_OK):
        hint = (
            f"mount it without noexec, or set {FOLDER_VARIABLE} to another folder and run "
            f"`{FETCH_COMMAND} {TRITONSERVER.name}`"
        )
        raise _unusable(f"{program} may not be executed: {hint}")


def check_temporary_folder() -> None:
    """Refuse a machine on which the server's Python backend would abort: it makes a folder in
    `/tmp` whatever TMPDIR says.
    """
    try:
        Path(tempfile.mkdtemp(dir=SERVER_TEMPORARY)).rmdir()
    except OSError as error:
        mend = f"make it writable, or mount a tmpfs on it (docker run --tmpfs {SERVER_TEMPORARY})"
        raise _unusable(
            f"tritonserver cannot write to {SERVER_TEMPORARY} ({error.strerror}), as it does "
            f"beside TMPDIR: {mend}"
        ) from None


def prepare_run_folder(files: ServerFiles, repository: Path, folder: Path) -> None:
    """Fill `folder` with links to the backends and to the model repository, and make the server's
    current directory of it.

    The server looks for all backends in one folder, and starts backend processes by a shell that
    splits unquoted paths: relative paths without blanks serve wherever the real ones lead. Links
    hold no bytes and nothing that is executed, so that a temporary folder that is small or mounted
    `noexec` will do. MODEL_LOAD_FAILED where it cannot be filled.
    """
    try:
        _fill(files, repository, folder)
    except OSError as error:
        raise _unusable(f"{folder} cannot be filled ({error.strerror}): {TEMPORARY_MEND}") from None


def _fill(files: ServerFiles, repository: Path, folder: Path) -> None:
    (folder / BACKENDS).mkdir(exist_ok=True)
    _link(folder / BACKENDS / "python", files.backends / "python")
    _link(folder / BACKENDS / "onnxruntime", ONNXRUNTIME_BACKEND)
    _link(folder / MODELS, repository)


def _link(path: Path, target: Path) -> None:
    """A link that is there already stays: a server that is started again has the same."""
    if not path.is_symlink():
        path.symlink_to(target.absolute())


def server_environment(files: ServerFiles) -> dict[str, str]:
    """This process's variables, with those of the server added.

    The backend processes link the shared libpython, and take their packages from the first
    `python3` on the PATH. Raises MODEL_LOAD_FAILED where the shell that starts them is not on the
    PATH.
    """
    path = _joined(Path(sys.executable).parent, os.environ.get("PATH") or os.defpath)
    if shutil.which(SHELL, path=path) is None:
        raise _unusable(
            f"{SHELL}, by which tritonserver starts its backend processes, is not on the PATH "
            f"({path}): install it"
        )
    return os.environ | SINGLE_THREADED | {
        "PATH": path,
        "LD_LIBRARY_PATH": _joined(
            files.libraries, sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")
        ),
        # Models of the repository import the orchestrator's packages.
        "PYTHONPATH": _joined(IMPORT_ROOT, os.environ.get("PYTHONPATH")),
        "PYTHONDONTWRITEBYTECODE": "1",  # the model repository may be read-only or shared
    }  # fmt: skip


def _joined(*paths: object) -> str:
    """One search path of several; absolute, since the server has another current directory."""
    return os.pathsep.join(
        str(Path(each).absolute())
        for path in paths
        if path
        for each in str(path).split(os.pathsep)
        if each
    )


def _unusable(reason: str) -> LipSyncError:
    return LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, reason, recoverable=False)
