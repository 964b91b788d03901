"""Environment variables of this process and of its children.

The standard library only: it is imported before numpy, which reads them.
"""

from __future__ import annotations

import os
from typing import Final

from orchestrator.core.paths import IMPORT_ROOT

SINGLE_THREADED: Final = {
    name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
}
"""Idle BLAS threads spin: with them the service takes five times the CPU time. Processes are the
parallelism here.
"""


def use_single_threads() -> None:
    """Set `SINGLE_THREADED` for this process, unless its caller chose otherwise."""
    for name, value in SINGLE_THREADED.items():
        os.environ.setdefault(name, value)


def child_environment() -> dict[str, str]:
    """Return the variables under which a child process imports this `orchestrator`."""
    paths = os.pathsep.join(filter(None, (str(IMPORT_ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | SINGLE_THREADED | {"PYTHONPATH": paths}
