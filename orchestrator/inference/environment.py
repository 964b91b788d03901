"""The fetched `tritonserver` and what it needs around it: libraries, backends, environment variables.

The standard library only, so that the server can be started before anything heavy is imported.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.downloads import PYTHON, TRITONSERVER, tritonserver
from orchestrator.errors import LipSyncError, LipSyncErrorCode

SINGLE_THREADED: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Spinning BLAS threads make small products five times dearer; instances are the parallelism."""


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """Paths of the fetched server's parts."""

    server: Path
    backends: Path
    stub: Path
    libraries: Path


def find_server() -> ServerFiles:
    """Locate the fetched server; MODEL_LOAD_FAILED with the command to run where it is absent or incomplete."""
    unpacked = tritonserver()
    root = unpacked / "pytriton" / "tritonserver"
    files = ServerFiles(
        server=root / "bin" / "tritonserver",
        backends=root / "backends",
        stub=root / "python_backend_stubs" / PYTHON / "triton_python_backend_stub",
        libraries=unpacked / "nvidia_pytriton.libs",
    )
    if not files.server.is_file():
        raise _unusable(f"{files.server} is gone: run `lipsync fetch {TRITONSERVER.name} --again`")
    if not files.stub.is_file():
        raise _unusable(f"{TRITONSERVER.distribution} {TRITONSERVER.version} has no backend process for Python {PYTHON}: use 3.11 to 3.13")
    return files


def prepare_backends(files: ServerFiles, folder: Path) -> Path:
    """Fill `folder` with the Python backend, its process for this Python, and our `onnxruntime` backend; return it.

    They are copied since the server looks for all backends in one folder and insists on the execute permission.
    """
    no_caches = shutil.ignore_patterns("__pycache__")
    python = Path(shutil.copytree(files.backends / "python", folder / "python", ignore=no_caches))
    shutil.copy(files.stub, python / files.stub.name)
    shutil.copytree(Path(__file__).parent / "backend" / "onnxruntime", folder / "onnxruntime", ignore=no_caches)
    for file in python.iterdir():
        file.chmod(0o755)
    return folder


def server_environment(files: ServerFiles) -> dict[str, str]:
    """This process's variables, with those of the server added.

    The backend processes link the shared libpython, and take their packages from the first `python3` on the PATH.
    """
    ours = Path(__file__).parents[2]  # models of the repository import the orchestrator's packages
    return os.environ | SINGLE_THREADED | {
        "PATH": _joined(Path(sys.executable).parent, os.environ.get("PATH")),
        "LD_LIBRARY_PATH": _joined(files.libraries, sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")),
        "PYTHONPATH": _joined(ours, os.environ.get("PYTHONPATH")),
        "PYTHONDONTWRITEBYTECODE": "1",  # the model repository may be read-only or shared
    }  # fmt: skip


def _joined(*parts: object) -> str:
    return os.pathsep.join(str(part) for part in parts if part)


def _unusable(reason: str) -> LipSyncError:
    return LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, reason, recoverable=False)
