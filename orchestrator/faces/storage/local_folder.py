"""Face store in a local folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.faces.ids import is_path_part
from orchestrator.faces.storage.atomic_folder import AtomicFolders, remove
from orchestrator.faces.storage.executor import StorageExecutor
from orchestrator.faces.storage.layout import ROOT, Blob, is_derived


class LocalFaceStore:
    """`FaceStore` in a local folder. Writes are staged beside the faces and renamed into place."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._incoming = AtomicFolders(self._root)
        self._threads = StorageExecutor(f"the folder {root}")

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        return await self._threads.run(self._blobs, prefix)

    async def read(self, key: str) -> bytes | None:
        return await self._threads.run(self._read, key)

    async def write(self, key: str, data: bytes) -> None:
        await self._threads.run(self._write, key, data)

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        await self._threads.run(self._replace, prefix, dict(files))

    async def delete(self, prefix: str) -> bool:
        return await self._threads.run(self._delete, prefix)

    async def close(self) -> None:
        await self._threads.close()

    def _path(self, key: str) -> Path:
        """Path of a key, proven to lie below the root even where the root holds links."""
        parts = key.split("/")
        deepest = 5 if is_derived(key) else 4
        if parts[0] != ROOT or not 2 <= len(parts) <= deepest or not all(map(is_path_part, parts)):
            raise ValueError(f"not a key of the face store: {key!r}")
        path = self._root.joinpath(*parts)
        if not path.resolve().is_relative_to(self._root):
            raise ValueError(f"the key leaves the store: {key!r}")
        return path

    def _blobs(self, prefix: str) -> tuple[Blob, ...]:
        self._incoming.sweep()
        path = self._path(prefix)
        return self._incoming.outside_of_swaps(lambda: self._below(path))

    def _below(self, folder: Path) -> tuple[Blob, ...]:
        paths = [
            Path(parent, name)
            for parent, _, names in os.walk(folder, onerror=_unless_gone)
            for name in names
        ]
        found = []
        for path in sorted(paths):
            try:
                stat = path.stat()
            except (
                FileNotFoundError
            ):  # replaced during the listing: the next one sees its successor
                continue
            if path.is_file():
                key = path.relative_to(self._root).as_posix()
                found.append(Blob(key, stat.st_size, f"{stat.st_mtime_ns}-{stat.st_ino}"))
        return tuple(found)

    def _read(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def _write(self, key: str, data: bytes) -> None:
        self._incoming.sweep()
        path = self._path(key)
        folder = self._incoming.stage({path.name: data})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / path.name).replace(path)
        finally:
            remove(folder)

    def _replace(self, prefix: str, files: dict[str, bytes]) -> None:
        self._incoming.sweep()
        path = self._path(prefix)
        self._incoming.put(self._incoming.stage(files), path)

    def _delete(self, prefix: str) -> bool:
        self._incoming.sweep()
        doomed = self._incoming.take_away(self._path(prefix))
        remove(doomed)
        return doomed is not None


def _unless_gone(error: OSError) -> None:
    """A missing folder is empty."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
