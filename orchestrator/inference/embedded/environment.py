"""Files and environment of the fetched `tritonserver`: libraries, backends, variables.

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
from orchestrator.inference.embedded.run_lock import TEMPORARY_REMEDY

SHELL: Final = "bash"

SERVER_TEMPORARY: Final = "/tmp"
"""Temporary folder that the Python backend's code hard-wires."""

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
    """Locate the fetched server.

    Raises MODEL_LOAD_FAILED with the command to run where it is absent or incomplete.
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
    """Reject a program that the kernel would not run, as on a file system mounted `noexec`."""
    if not program.is_file():
        raise _unusable(f"{program} is gone: run `{FETCH_COMMAND} {TRITONSERVER.name} --again`")
    if not os.access(program, os.X_OK):
        hint = (
            f"mount it without noexec, or set {FOLDER_VARIABLE} to another folder and run "
            f"`{FETCH_COMMAND} {TRITONSERVER.name}`"
        )
        raise _unusable(f"{program} may not be executed: {hint}")


def check_temporary_folder() -> None:
    """Reject a machine on which the server's Python backend would abort.

    The backend creates a folder in `/tmp` regardless of TMPDIR.
    """
    try:
        Path(tempfile.mkdtemp(dir=SERVER_TEMPORARY)).rmdir()
    except OSError as error:
        remedy = f"make it writable, or mount a tmpfs on it (docker run --tmpfs {SERVER_TEMPORARY})"
        raise _unusable(
            f"tritonserver cannot write to {SERVER_TEMPORARY} ({error.strerror}), "
            f"as it does beside TMPDIR: {remedy}"
        ) from None


def prepare_run_folder(files: ServerFiles, repository: Path, folder: Path) -> None:
    """Fill `folder`, the server's current directory, with links to backends and model repository.

    The server looks for all backends in one folder, and starts backend processes by a shell that
    splits unquoted paths. Relative paths without blanks work wherever the real ones lead.

    Links hold no bytes and nothing that is executed, so a small temporary folder or one mounted
    `noexec` is sufficient. Raises MODEL_LOAD_FAILED where the folder cannot be filled.
    """
    try:
        _fill(files, repository, folder)
    except OSError as error:
        raise _unusable(
            f"{folder} cannot be filled ({error.strerror}): {TEMPORARY_REMEDY}"
        ) from None


def _fill(files: ServerFiles, repository: Path, folder: Path) -> None:
    (folder / BACKENDS).mkdir(exist_ok=True)
    _link(folder / BACKENDS / "python", files.backends / "python")
    _link(folder / BACKENDS / "onnxruntime", ONNXRUNTIME_BACKEND)
    _link(folder / MODELS, repository)


def _link(path: Path, target: Path) -> None:
    """Create a link unless it exists: a restarted server uses the same links."""
    if not path.is_symlink():
        path.symlink_to(target.absolute())


def server_environment(files: ServerFiles) -> dict[str, str]:
    """This process's environment variables, with those of the server added.

    The backend processes link the shared libpython, and take their packages from the first
    `python3` on the PATH. Raises MODEL_LOAD_FAILED where the shell that starts them is not on the
    PATH.
    """
    path = _joined(Path(sys.executable).parent, os.environ.get("PATH") or os.defpath)
    if shutil.which(SHELL, path=path) is None:
        raise _unusable(
            f"{SHELL}, by which tritonserver starts its backend processes, "
            f"is not on the PATH ({path}): install it"
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
    """Several paths as one search path; absolute, as the server has another current directory."""
    return os.pathsep.join(
        str(Path(each).absolute())
        for path in paths
        if path
        for each in str(path).split(os.pathsep)
        if each
    )


def _unusable(reason: str) -> LipSyncError:
    return LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, reason, recoverable=False)
