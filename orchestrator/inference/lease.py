"""Owns the shared memory and temporary files of one run, and sweeps up after runs that were killed.

A run's names start with its own prefix, and it holds a lock on a file of that name for life. A lock that can be taken
belongs to a dead run, also when that run lived in another container that shares `/dev/shm`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Final

SHM: Final = Path("/dev/shm")
"""Where POSIX shared memory lives on Linux, the only system that the server runs on."""

PREFIX: Final = "lipsync-"
SUFFIX: Final = ".lock"
TEMPORARY_PREFIX: Final = "lipsync-run-"


class Lease:
    """A prefix for shared memory names and a temporary folder, both gone after `release`."""

    def __init__(self) -> None:
        run = uuid.uuid4().hex[:12]
        self.prefix = f"{PREFIX}{run}-"
        self._folder = Path(tempfile.gettempdir()) / f"{TEMPORARY_PREFIX}{run}"
        self._lock_path = SHM / f"{self.prefix}{SUFFIX}"
        self._lock = os.open(self._lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.write(self._lock, os.fsencode(self._folder))

    def folder(self) -> Path:
        """The temporary folder, made when it is first asked for."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return self._folder

    def sweep_segments(self) -> None:
        """Removes the segments of this run that killed processes left behind; call it while none of them runs."""
        _remove_segments(self.prefix)

    def release(self) -> None:
        """Removes all that the run left; safe to call twice."""
        if self._lock < 0:
            return
        _remove_segments(self.prefix)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1


def sweep_dead_runs() -> None:
    """Removes what earlier runs left that did not live to do so."""
    for path in SHM.glob(f"{PREFIX}*{SUFFIX}"):
        with contextlib.suppress(OSError), path.open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = Path(os.fsdecode(lock.read()))
            if folder.name.startswith(TEMPORARY_PREFIX):
                shutil.rmtree(folder, ignore_errors=True)
            _remove_segments(path.name.removesuffix(SUFFIX))
            path.unlink(missing_ok=True)


def _remove_segments(prefix: str) -> None:
    for path in SHM.glob(f"{prefix}*"):
        if path.suffix != SUFFIX:
            path.unlink(missing_ok=True)
