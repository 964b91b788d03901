"""Where face models lie: small files by key, in a folder today and in a bucket by the same four calls."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from orchestrator.core.config import ConfigError
from orchestrator.core.errors import invalid_field
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.faces.ids import is_path_part
from orchestrator.faces.storage.atomic_folder import Incoming, remove
from orchestrator.faces.storage.circuit_breaker import WatchedStore
from orchestrator.faces.storage.executor import StorageThreads
from orchestrator.faces.storage.replacement import replacement_in

ROOT: Final = "face-models"
"""First part of every key."""

DEMO_USER: Final = "demo"
DEMO_FACE: Final = "demo"
DERIVED: Final = "derived"
"""Folder of a face model for what is computed from it: no part of the face, and made anew where it is missing."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored file. `generation` changes whenever its bytes are written anew."""

    key: str
    size_bytes: int
    generation: str


class FaceStore(Protocol):
    """Small files by key: `face-models/{userId}/{modelId}/{file}`, `face-models/{userId}/{modelId}/derived/{file}` and
    `face-models/{userId}/active_model.json`.

    Where the storage itself fails, every call raises an `OSError`.
    """

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        """All files below the folder `prefix`, by key."""
        ...

    async def read(self, key: str) -> bytes | None:
        """The file's bytes; None when there is no such file."""
        ...

    async def write(self, key: str, data: bytes) -> None:
        """Write one file; a reader sees the old bytes or the new ones."""
        ...

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        """Make `files` (by name) all that the folder `prefix` holds; where that fails, it holds what it held, or all of them.

        A reader tells an old file from a new one by its generation. While the storage writes file by file, the folder also holds
        one with all of them, and that one counts; see `replacement`.
        """
        ...

    async def delete(self, prefix: str) -> bool:
        """Remove the folder or file; says whether there was one."""
        ...

    async def close(self) -> None:
        """At the service's end: let calls under way end, as long as that takes a moment."""
        ...


def face_prefix(user_id: str, model_id: str) -> str:
    """The folder of one face model."""
    return f"{ROOT}/{user_id}/{model_id}"


def active_model_key(user_id: str) -> str:
    """The file that names the face a user speaks with."""
    return f"{ROOT}/{user_id}/active_model.json"


def derived_prefix(user_id: str, model_id: str) -> str:
    """The folder of what was computed from one face model."""
    return f"{face_prefix(user_id, model_id)}/{DERIVED}"


def is_derived(key: str) -> bool:
    """Whether the file was computed from a face model rather than belonging to it."""
    parts = key.split("/")
    return len(parts) > 3 and parts[3] == DERIVED


def version_of(blobs: Iterable[Blob]) -> str:
    """One string for the state of a face model's folder: it changes when any file but a derived one is written, added or removed.

    While the face is being replaced, its replacement alone counts.
    """
    blobs = tuple(blobs)
    whole = replacement_in(blobs)
    counted = [blob for blob in blobs if not is_derived(blob.key)] if whole is None else [whole]
    lines = sorted(f"{blob.key} {blob.size_bytes} {blob.generation}" for blob in counted)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


class LocalFaceStore:
    """The layout in a local folder. Writes go to a sibling folder first and are renamed into place."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._incoming = Incoming(self._root)
        self._threads = StorageThreads(f"the folder {root}")

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
        """The file or folder of a key, proven to lie below the root even where the root holds links."""
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
        paths = [Path(parent, name) for parent, _, names in os.walk(folder, onerror=_unless_gone) for name in names]
        found = []
        for path in sorted(paths):
            try:
                stat = path.stat()
            except FileNotFoundError:  # replaced while we looked: the next look sees its successor
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
    """A folder that is not there holds nothing."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


class WithShippedFaces:
    """A store in which the demo face that comes with the package is always there, and always the same.

    What is computed from it lies in the own store, as for any other face, and is listed with its own folder alone: whoever wants
    the face does not wait for the own store.
    """

    def __init__(self, own: FaceStore, shipped: FaceStore) -> None:
        self._own = own
        self._shipped = shipped
        self._fixed = face_prefix(DEMO_USER, DEMO_FACE)

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        if prefix == self._fixed:
            return await self._shipped.blobs(prefix)
        own = {blob.key: blob for blob in await self._own.blobs(prefix) if not self._is_fixed(blob.key)}
        if prefix.split("/")[1] == DEMO_USER:
            own = {blob.key: blob for blob in await self._shipped.blobs(prefix)} | own
        return tuple(own[key] for key in sorted(own))

    async def read(self, key: str) -> bytes | None:
        data = None if self._is_fixed(key) else await self._own.read(key)
        if data is None and key.split("/")[1] == DEMO_USER:
            return await self._shipped.read(key)
        return data

    async def write(self, key: str, data: bytes) -> None:
        self._refuse_fixed(key)
        await self._own.write(key, data)

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        self._refuse_fixed(prefix)
        await self._own.replace(prefix, files)

    async def delete(self, prefix: str) -> bool:
        self._refuse_fixed(prefix)
        return await self._own.delete(prefix)

    async def close(self) -> None:
        await self._own.close()

    def _is_fixed(self, key: str) -> bool:
        return (key == self._fixed or key.startswith(self._fixed + "/")) and not is_derived(key)

    def _refuse_fixed(self, key: str) -> None:
        if self._is_fixed(key):
            raise invalid_field("faceModelId", "the demo face is part of the product and cannot be changed; choose another id")


def open_store(root: Path, bucket: str = "") -> FaceStore:
    """A bucket, or a local folder, made on the first write; with the shipped demo face in view."""
    own = WatchedStore(_own_store(root, bucket), face_prefix(DEMO_USER, DEMO_FACE))
    return WithShippedFaces(own, LocalFaceStore(SHIPPED_FACES))


def _own_store(root: Path, bucket: str) -> FaceStore:
    if not bucket:
        return LocalFaceStore(root)
    try:
        from orchestrator.faces.storage.gcs import BucketFaceStore  # Google's client takes a second to import
    except ImportError as error:
        raise ConfigError(f"faces in a bucket need Google's client: pip install 'lipsync-service[gcs]' ({error})") from None

    return BucketFaceStore(bucket)
