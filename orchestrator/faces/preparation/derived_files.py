"""Stored files of derived data beside a face model.

They are read where usable, and written where the storage allows it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import TypeVar

from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import FaceModel
from orchestrator.faces.storage.face_listing import METADATA
from orchestrator.faces.storage.layout import derived_prefix, face_prefix
from orchestrator.faces.storage.replacement import version_of
from orchestrator.faces.storage.store import FaceStore

logger = logging.getLogger(__name__)

T = TypeVar("T")


def fingerprint(face: FaceModel, made_by: str) -> str:
    """Fingerprint of all inputs of derived data: photo, points, code and networks (`made_by`).

    32 hex digits of a SHA-256.
    """
    found = hashlib.sha256(f"{made_by} {face.neutral_pose.shape}".encode())
    found.update(face.neutral_pose.tobytes())
    found.update(face.landmarks().tobytes())
    return found.hexdigest()[:32]


class DerivedFiles:
    """The `derived/` folders of a store.

    Storage that cannot be read or written is no error: the data is computed again.
    """

    def __init__(self, store: FaceStore) -> None:
        self._store = store
        self._has_logged_failure = False

    async def load(
        self,
        face: FaceModel,
        name: str,
        parse: Callable[[bytes], T],
        *,
        max_bytes: int,
        timeout_s: float,
    ) -> T | None:
        """Read and parse a file.

        Returns None for a missing file, where `parse` raises ValueError, or after `timeout_s`.
        """
        folder = derived_prefix(face.user_id, face.id)
        try:
            async with asyncio.timeout(timeout_s):
                sizes = {blob.key: blob.size_bytes for blob in await self._store.blobs(folder)}
                key = f"{folder}/{name}"
                if not 0 < sizes.get(key, 0) <= max_bytes:
                    return None
                data = await self._store.read(key)
            return None if data is None else await asyncio.to_thread(parse, data)
        except (OSError, ValueError) as error:
            logger.warning(
                "face %s: stored %s unusable, computing it again: %s",
                face.id,
                name,
                error or "no response from storage",
            )
            return None

    async def keep(
        self,
        face: FaceModel,
        name: str,
        made: Callable[[], bytes],
        *,
        max_bytes: int,
        timeout_s: float,
    ) -> None:
        """Store the result of `made` unless it is too large; log the first failure in a row."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._write(face, name, made, max_bytes)
            self._has_logged_failure = False
        except (OSError, ValueError, LipSyncError) as error:
            if not self._has_logged_failure:
                logger.warning(
                    "data derived from faces cannot be stored, and is computed again after a "
                    "restart: %s",
                    error,
                )
            self._has_logged_failure = True

    async def _write(
        self, face: FaceModel, name: str, made: Callable[[], bytes], max_bytes: int
    ) -> None:
        prefix, folder = face_prefix(face.user_id, face.id), derived_prefix(face.user_id, face.id)
        if version_of(await self._store.blobs(prefix)) != face.version:
            return  # the face was replaced or deleted meanwhile
        data = await asyncio.to_thread(made)
        if len(data) > max_bytes:
            return
        await self._store.write(f"{folder}/{name}", data)
        if f"{prefix}/{METADATA}" not in [blob.key for blob in await self._store.blobs(prefix)]:
            # The face was deleted during the write: no data of the person may stay.
            await self._store.delete(f"{folder}/{name}")
        for blob in await self._store.blobs(folder):
            if _is_outdated(blob.key.rsplit("/", 1)[1], name):
                await self._store.delete(blob.key)


def _is_outdated(other: str, name: str) -> bool:
    """True for a file of the same kind of data from another face, code or network."""
    kind, found = name.split(".")[:2]
    return other.startswith(f"{kind}.") and not other.startswith(f"{kind}.{found}.")
