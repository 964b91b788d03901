"""Files beside a face model for what is computed from it: read where they can be used, written
where storage allows it.
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
    """32 hex digits for everything that derived data depends on: photo, points, and the code and
    networks in `made_by`.
    """
    found = hashlib.sha256(f"{made_by} {face.neutral_pose.shape}".encode())
    found.update(face.neutral_pose.tobytes())
    found.update(face.landmarks().tobytes())
    return found.hexdigest()[:32]


class DerivedFiles:
    """The `derived/` folders of a store. Storage that cannot be read or written is no error: the
    data is computed again.
    """

    def __init__(self, store: FaceStore) -> None:
        self._store = store
        self._told_of_writing = False

    async def load(
        self,
        face: FaceModel,
        name: str,
        parse: Callable[[bytes], T],
        *,
        max_bytes: int,
        timeout_s: float,
    ) -> T | None:
        """Parsed content of a file; None where there is none, `parse` raises ValueError, or storage
        takes longer than `timeout_s`.
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
                "face %s: %s cannot be used and is made anew: %s",
                face.id,
                name,
                error or "storage does not answer",
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
        """Store what `made` gives, unless that is too large. The first failure in a row is
        logged.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._write(face, name, made, max_bytes)
            self._told_of_writing = False
        except (OSError, ValueError, LipSyncError) as error:
            if not self._told_of_writing:
                logger.warning(
                    "what models computed from faces cannot be stored, and has to be computed "
                    "again after a restart: %s",
                    error,
                )
            self._told_of_writing = True

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
            await self._store.delete(
                f"{folder}/{name}"
            )  # deleted while we wrote: nothing of the person may stay
        for blob in await self._store.blobs(folder):
            if _is_outdated(blob.key.rsplit("/", 1)[1], name):
                await self._store.delete(blob.key)


def _is_outdated(other: str, name: str) -> bool:
    """Whether a file holds the same kind of data of another face, code or network."""
    kind, found = name.split(".")[:2]
    return other.startswith(f"{kind}.") and not other.startswith(f"{kind}.{found}.")
