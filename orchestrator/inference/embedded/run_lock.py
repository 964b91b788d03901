"""Owns the shared memory and temporary files of one run, and sweeps up after runs that were killed.

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
"""Where POSIX shared memory lives on Linux, the only system that the server runs on."""

PREFIX: Final = "lipsync-"
SUFFIX: Final = ".lock"
TEMPORARY_PREFIX: Final = "lipsync-run-"

LEAST_SHM_MIB: Final = 8
"""The built-in models' backend processes start and answer with so much; tensors then travel as
bytes (docs/triton.md).
"""

TEMPORARY_MEND: Final = "set TMPDIR to a folder with free space that you may write to"
SHM_MEND: Final = (
    f"mount it with `mount -t tmpfs -o size=1g tmpfs {SHM}` (docker run --shm-size=1g)"
)


class Lease:
    """A prefix for shared memory names and a temporary folder, both gone after `release`.

    Making one raises MODEL_LOAD_FAILED where one of the two cannot be written to.
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
            mend = f"run `chmod 1777 {SHM}`" if error.errno == errno.EACCES else SHM_MEND
            raise _unusable(
                f"{SHM}, shared memory, cannot be written to ({error.strerror}): {mend}"
            ) from None

    def folder(self) -> Path:
        """The temporary folder, made when it is first asked for; MODEL_LOAD_FAILED where it cannot
        be.
        """
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unusable(
                f"{self._folder} cannot be made ({error.strerror}): {TEMPORARY_MEND}"
            ) from None
        if self._held < 0:
            self._held = _held(self._folder)
        return self._folder

    def sweep_segments(self) -> None:
        """Removes the segments of this run that killed processes left behind; call it while none of
        them runs.
        """
        _remove_segments(self.prefix)

    def release(self) -> None:
        """Removes all that the run left; safe to call twice."""
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
    """Refuse a machine on which backend processes could not start; MODEL_LOAD_FAILED with the
    command that mends it.
    """
    try:
        free_mib = shutil.disk_usage(SHM).free >> 20
    except OSError as error:
        raise _unusable(
            f"{SHM}, shared memory, cannot be read ({error.strerror}): {SHM_MEND}"
        ) from None
    if free_mib < LEAST_SHM_MIB:
        raise _unusable(
            f"{free_mib} MiB are free in {SHM}, shared memory, and {LEAST_SHM_MIB} are needed: "
            f"{SHM_MEND}"
        )


def temporary_parent() -> Path:
    """Where temporary files go: TMPDIR, or the usual folders where that cannot be written to;
    MODEL_LOAD_FAILED if none can.
    """
    try:
        return Path(tempfile.gettempdir()).absolute()
    except FileNotFoundError:
        raise _unusable(f"no temporary folder can be written to: {TEMPORARY_MEND}") from None


def _locked(path: Path, text: bytes) -> int:
    """A descriptor of a new file with that text, locked for as long as it is open. Raises OSError,
    and leaves nothing then.
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
    """A locked descriptor of a folder: systemd-tmpfiles leaves such a one alone, however old its
    files are.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # some network drives lock no folders
        fcntl.flock(held, fcntl.LOCK_SH)
    return held


def _unusable(reason: str) -> LipSyncError:
    return LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, reason, recoverable=False)


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
