"""Atomic replacement of folders: files are staged beside the faces and renamed into place.

Staged folders of a killed process are removed later.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from orchestrator.faces.ids import is_path_part

STALE_S: Final = 600.0
"""Age from which a staged folder counts as abandoned; also the interval between sweeps.

No write takes longer, so an older folder was left by a process that was killed.
"""

_TARGET_EXISTS: Final = (errno.ENOTEMPTY, errno.EEXIST)
_MAX_ATTEMPTS: Final = 8

R = TypeVar("R")


class AtomicFolders:
    """Staging folder `.incoming` beside the faces: same file system, outside the key space."""

    def __init__(self, root: Path) -> None:
        self._folder = root / ".incoming"
        self._swap = threading.Lock()
        self._swaps = 0
        self._swept_s = -math.inf

    def stage(self, files: Mapping[str, bytes]) -> Path:
        """Write a complete folder and flush it to the disk; ValueError for names that are paths."""
        if not all(map(is_path_part, files)):
            raise ValueError(f"not file names: {sorted(files)}")
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            for name, data in files.items():
                with (folder / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError:  # on a full disk, free what was written
            remove(folder)
            raise
        return folder

    def put(self, staged: Path, path: Path) -> None:
        """Rename a staged folder into place.

        On failure the staged folder is removed and the previous folder is restored.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._swap:
                self._swaps += 1  # odd during a swap
                try:
                    doomed = self._exchange(staged, path)
                finally:
                    self._swaps += 1
        except OSError:
            remove(staged)
            raise
        remove(doomed)

    def take_away(self, path: Path) -> Path | None:
        """Rename the folder or file out of the key space; None where there is none."""
        with self._swap:
            return self._take_away(path)

    def outside_of_swaps(self, look: Callable[[], R]) -> R:
        """Result of `look()`, taken while no face is absent between the two renames of a swap."""
        before = self._swaps
        seen = look()
        if before % 2 == 0 and self._swaps == before:
            return seen
        with self._swap:
            return look()

    def sweep(self) -> None:
        """Remove abandoned staged folders, at most once per `STALE_S`; file errors are ignored."""
        if time.monotonic() - self._swept_s < STALE_S:
            return
        self._swept_s = time.monotonic()
        with suppress(OSError):
            for path in list(self._folder.iterdir()):
                _remove_stale(path)

    def _take_away(self, path: Path) -> Path | None:
        doomed = self._folder / uuid.uuid4().hex
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            return path.rename(doomed)
        except FileNotFoundError:
            return None

    def _exchange(self, staged: Path, path: Path) -> Path | None:
        for attempt in range(_MAX_ATTEMPTS):
            doomed = self._take_away(path)
            try:
                staged.rename(path)
            except OSError as error:
                if error.errno not in _TARGET_EXISTS or attempt == _MAX_ATTEMPTS - 1:
                    _put_back(doomed, path)
                    raise
                remove(doomed)  # another process stored its face first: replace that one
            else:
                return doomed
        raise AssertionError("the last attempt returns or raises")


def remove(path: Path | None) -> None:
    """Remove a file or folder; what another process removed meanwhile is no error."""
    if path is not None and path.is_dir():
        shutil.rmtree(path, onerror=_unless_gone)
    elif path is not None:
        path.unlink(missing_ok=True)


def _put_back(doomed: Path | None, path: Path) -> None:
    if doomed is not None:
        with suppress(OSError):
            doomed.rename(path)


def _remove_stale(path: Path) -> None:
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > STALE_S:
            remove(path)


def _unless_gone(
    function: Callable[..., Any],
    path: str,
    failure: tuple[type[BaseException], BaseException, TracebackType],
) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
