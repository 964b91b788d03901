"""What the wheel's `tritonserver` needs around it: libraries, backends, variables; and why it cannot run, if it cannot.

The standard library only, so that the server can be started before anything heavy is imported.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.errors import LipSyncError, LipSyncErrorCode

SINGLE_THREADED: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Spinning BLAS threads make small products five times dearer; instances are the parallelism."""

INSTALL_HINT: Final = "pip install 'lipsync-service[embedded]'"


@dataclass(frozen=True, slots=True)
class Wheel:
    """Where the parts of an installed `nvidia-pytriton` are."""

    server: Path
    backends: Path
    stub: Path
    libraries: Path


def find_wheel() -> Wheel:
    """The installed wheel; raises MODEL_LOAD_FAILED with the command that mends it."""
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise _unusable(f"nvidia-pytriton is not installed: {INSTALL_HINT}")
    package = Path(spec.origin).parent
    root = package / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheel = Wheel(
        server=root / "bin" / "tritonserver",
        backends=root / "backends",
        stub=root / "python_backend_stubs" / version / "triton_python_backend_stub",
        libraries=package.parent / "nvidia_pytriton.libs",
    )
    if not wheel.stub.is_file():
        raise _unusable(f"nvidia-pytriton has no backend process for Python {version}; use Python 3.10 to 3.12")
    return wheel


def refuse_numpy_2() -> None:
    """Raises where the server would answer with garbage and status OK; reads the metadata, imports nothing."""
    version = importlib.metadata.version("numpy")
    if int(version.split(".")[0]) >= 2:
        raise _unusable(f"numpy {version} is installed, but the embedded server reads tensors of numpy >= 2 wrong: pip install 'numpy<2'")


def prepare_backends(wheel: Wheel, folder: Path) -> Path:
    """Fills `folder` with the Python backend, its process for this Python, and our `onnxruntime` backend; returns it.

    They are copied since wheels may be installed read-only, without the execute permission that the server insists on.
    """
    no_caches = shutil.ignore_patterns("__pycache__")
    python = Path(shutil.copytree(wheel.backends / "python", folder / "python", ignore=no_caches))
    shutil.copy(wheel.stub, python / wheel.stub.name)
    shutil.copytree(Path(__file__).parent / "backend" / "onnxruntime", folder / "onnxruntime", ignore=no_caches)
    for file in python.iterdir():
        file.chmod(0o755)
    return folder


def server_environment(wheel: Wheel) -> dict[str, str]:
    """This process's variables, with those of the server added.

    The backend processes link the shared libpython, and take their packages from the first `python3` on the PATH.
    """
    ours = Path(__file__).parents[2]  # models of the repository import the orchestrator's packages
    return os.environ | SINGLE_THREADED | {
        "PATH": _joined(Path(sys.executable).parent, os.environ.get("PATH")),
        "LD_LIBRARY_PATH": _joined(wheel.libraries, sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")),
        "PYTHONPATH": _joined(ours, os.environ.get("PYTHONPATH")),
        "PYTHONDONTWRITEBYTECODE": "1",  # the model repository may be read-only or shared
    }  # fmt: skip


def _joined(*parts: object) -> str:
    return os.pathsep.join(str(part) for part in parts if part)


def _unusable(reason: str) -> LipSyncError:
    return LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, reason, recoverable=False)
