"""Face maps in files that all renderer instances of one server share.

Maps sent to one instance serve the others too. The instances are processes below one
`tritonserver`, on one machine, so this works wherever that runs. A restarted instance finds the
faces of its predecessor.

The folder is removed with its server: by the last instance that is unloaded, or by the process that
kills the server. Each instance holds a lock on it. A folder whose lock is free and whose server is
gone belongs to a killed one, and the next instance to start removes it. While a server heals, no
instance holds the lock for a moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from orchestrator.rendering.face_maps import MAX_BYTES

MAX_FOLDER_BYTES: Final = 128 << 20
"""Upper bound of the folder: as much as one instance holds in memory; the oldest are evicted."""

PREFIX: Final = "lipsync-face-maps-"
LOCK_NAME: Final = "lock"
SUFFIX: Final = ".maps"
SERVER: Final = "tritonserver"


class MapFiles:
    """Maps by hash below `folder`, which is created.

    Raises OSError where that fails; later failures only cost the sharing. Readers check the hash:
    no content of the folder is trusted.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_FOLDER_BYTES) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to another user")
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = os.open(folder / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Release the lock, and remove the folder if no other instance holds it."""
        os.close(self._lock)
        _remove_if_unused(self._folder)

    def get(self, digest: bytes) -> bytes | None:
        """Bytes stored under a hash, unchecked; None where there are none."""
        path = self._path(digest)
        try:
            if path.stat().st_size > MAX_BYTES:
                return None
            os.utime(path)
            return path.read_bytes()
        except OSError:
            return None

    def put(self, digest: bytes, blob: bytes) -> None:
        """Store maps once for the other instances."""
        path = self._path(digest)
        with contextlib.suppress(OSError):
            if not path.exists():
                part = path.with_suffix(f".{os.getpid()}")
                part.write_bytes(blob)
                part.replace(path)
                self._make_room()

    def discard(self, digest: bytes) -> None:
        """Remove an unusable file, so that it can be stored again."""
        with contextlib.suppress(OSError):
            self._path(digest).unlink()

    def _path(self, digest: bytes) -> Path:
        return self._folder / f"{digest.hex()}{SUFFIX}"

    def _make_room(self) -> None:
        files = sorted(
            (path.stat().st_mtime_ns, path.stat().st_size, path)
            for path in self._folder.glob(f"*{SUFFIX}")
        )
        total = sum(size for _, size, _ in files)
        for _, size, path in files[:-1]:
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def open_map_files() -> MapFiles | None:
    """Files of the server whose backend process this is.

    None elsewhere, and where no folder can be created.
    """
    try:
        return MapFiles(_server_folder()) if _is_below_server() else None
    except OSError:
        return None
    finally:
        _remove_dead_folders()


def remove_folder_of(server_pid: int) -> None:
    """Remove a server's folder; call it once the server and its backend processes were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}{server_pid}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _remove_dead_folders() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not _has_living_server(folder):
            _remove_if_unused(folder)


def _has_living_server(folder: Path) -> bool:
    pid, _, started = folder.name.removeprefix(PREFIX).partition("-")
    with contextlib.suppress(OSError, ValueError):
        return _started(int(pid)) == started
    return False


def _remove_if_unused(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / LOCK_NAME).open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def _is_below_server() -> bool:
    return Path(f"/proc/{os.getppid()}/comm").read_text().strip() == SERVER


def _server_folder() -> Path:
    """Folder named by the server's process id and its start time, since ids are reused."""
    return Path(tempfile.gettempdir()) / f"{PREFIX}{os.getppid()}-{_started(os.getppid())}"


def _started(pid: int) -> str:
    """Start of a process in clock ticks since boot (field 22 of /proc/PID/stat, proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
