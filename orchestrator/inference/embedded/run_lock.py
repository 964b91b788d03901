"""Ownership of one run's shared memory and temporary files, and cleanup after killed runs.

A run's names start with its own prefix, and it holds a lock on a file of that name for life. A lock
that can be taken belongs to a dead run, also when that run lived in another container that shares
`/dev/shm`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Final

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode

SHM: Final = Path("/dev/shm")
"""Folder of POSIX shared memory on Linux, the only system that the server runs on."""

PREFIX: Final = "lipsync-"
SUFFIX: Final = ".lock"
TEMPORARY_PREFIX: Final = "lipsync-run-"

MIN_SHM_MIB: Final = 8
"""Least free shared memory with which the built-in models' backend processes start and answer.

Tensors then travel as bytes (docs/triton.md).
"""

TEMPORARY_REMEDY: Final = "set TMPDIR to a writable folder with free space"
SHM_REMEDY: Final = (
    f"mount it with `mount -t tmpfs -o size=1g tmpfs {SHM}` (docker run --shm-size=1g)"
)


class RunLock:
    """A prefix for shared memory names and a temporary folder, both removed by `release`.

    The constructor raises MODEL_LOAD_FAILED where either cannot be written to.
    """

    def __init__(self) -> None:
        run = uuid.uuid4().hex[:12]
        self.prefix = f"{PREFIX}{run}-"
        self._folder = temporary_parent() / f"{TEMPORARY_PREFIX}{run}"
        self._held = -1
        self._lock_path = SHM / f"{self.prefix}{SUFFIX}"
        try:
            self._lock = _locked(self._lock_path, os.fsencode(self._folder))
        except OSError as error:
            remedy = f"run `chmod 1777 {SHM}`" if error.errno == errno.EACCES else SHM_REMEDY
            raise _unusable(
                f"{SHM}, shared memory, cannot be written to ({error.strerror}): {remedy}"
            ) from None

    def folder(self) -> Path:
        """The temporary folder, created on first use; MODEL_LOAD_FAILED where that fails."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unusable(
                f"{self._folder} cannot be made ({error.strerror}): {TEMPORARY_REMEDY}"
            ) from None
        if self._held < 0:
            self._held = _held(self._folder)
        return self._folder

    def sweep_segments(self) -> None:
        """Remove the segments of this run that killed processes left behind.

        Call it while none of them runs.
        """
        _remove_segments(self.prefix)

    def release(self) -> None:
        """Remove everything that the run left; safe to call twice."""
        if self._lock < 0:
            return
        _remove_segments(self.prefix)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)
        if self._held >= 0:
            os.close(self._held)
        self._lock = self._held = -1


def check_shared_memory() -> None:
    """Reject a machine on which backend processes could not start.

    Raises MODEL_LOAD_FAILED with the command that repairs it.
    """
    try:
        free_mib = shutil.disk_usage(SHM).free >> 20
    except OSError as error:
        raise _unusable(
            f"{SHM}, shared memory, cannot be read ({error.strerror}): {SHM_REMEDY}"
        ) from None
    if free_mib < MIN_SHM_MIB:
        raise _unusable(
            f"{free_mib} MiB are free in {SHM}, shared memory, and {MIN_SHM_MIB} are needed: "
            f"{SHM_REMEDY}"
        )


def temporary_parent() -> Path:
    """Parent of temporary files: TMPDIR, or the usual folders if it is not writable.

    Raises MODEL_LOAD_FAILED if none is.
    """
    try:
        return Path(tempfile.gettempdir()).absolute()
    except FileNotFoundError:
        raise _unusable(f"no temporary folder can be written to: {TEMPORARY_REMEDY}") from None


def _locked(path: Path, text: bytes) -> int:
    """Create a file with that text and return a descriptor that locks it while open.

    Raises OSError, and then leaves no file.
    """
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, text)
    except OSError:
        os.close(lock)
        path.unlink(missing_ok=True)
        raise
    return lock


def _held(folder: Path) -> int:
    """Open and lock a folder: systemd-tmpfiles skips locked folders, even with old files."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # some network drives cannot lock folders
        fcntl.flock(held, fcntl.LOCK_SH)
    return held


def _unusable(reason: str) -> LipSyncError:
    return LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, reason, recoverable=False)


def sweep_dead_runs() -> None:
    """Remove what killed runs left behind."""
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
