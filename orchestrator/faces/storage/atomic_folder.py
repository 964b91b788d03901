"""Files on their way into a folder of faces or out of it: complete before they are seen, and
removed where a process was killed midway.
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
"""Nothing is on its way for longer, so what is older was left by a process that was killed. Looked
for this often.
"""

_TAKEN: Final = (errno.ENOTEMPTY, errno.EEXIST)
_ATTEMPTS: Final = 8

R = TypeVar("R")


class AtomicFolders:
    """The folder `.incoming` beside the faces, on the same file system, outside of the key
    space.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / ".incoming"
        self._swap = threading.Lock()
        self._swaps = 0
        self._swept_s = -math.inf

    def stage(self, files: Mapping[str, bytes]) -> Path:
        """A complete folder, flushed to the disk."""
        if not all(map(is_path_part, files)):
            raise ValueError(f"not names of files: {sorted(files)}")
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            for name, data in files.items():
                with (folder / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError:  # a full disk must not keep the half that fitted
            remove(folder)
            raise
        return folder

    def put(self, staged: Path, path: Path) -> None:
        """Rename a staged folder into place; where that fails, nothing of it stays, and what was
        there is there again.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._swap:
                self._swaps += 1  # odd while one is under way
                try:
                    doomed = self._exchange(staged, path)
                finally:
                    self._swaps += 1
        except OSError:
            remove(staged)
            raise
        remove(doomed)

    def take_away(self, path: Path) -> Path | None:
        """Out of sight in one step; None where there is nothing."""
        with self._swap:
            return self._take_away(path)

    def outside_of_swaps(self, look: Callable[[], R]) -> R:
        """What `look()` gives while no face is away for the moment between two renames."""
        before = self._swaps
        seen = look()
        if before % 2 == 0 and self._swaps == before:
            return seen
        with self._swap:
            return look()

    def sweep(self) -> None:
        """Remove what others left; a folder that cannot be read or written leaves that to
        others.
        """
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
        for attempt in range(_ATTEMPTS):
            doomed = self._take_away(path)
            try:
                staged.rename(path)
            except OSError as error:
                if error.errno not in _TAKEN or attempt == _ATTEMPTS - 1:
                    _put_back(doomed, path)
                    raise
                remove(doomed)  # another process was faster: it is its face that we replace
            else:
                return doomed
        raise AssertionError("the last attempt returns or raises")


def remove(path: Path | None) -> None:
    """A file or a folder; what another process removed meanwhile is no failure."""
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
