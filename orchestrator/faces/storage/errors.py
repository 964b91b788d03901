"""A store whose failures say what a caller can do: the storage is away, which is not the face's
fault and may pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TypeVar

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.storage.layout import Blob
from orchestrator.faces.storage.store import FaceStore

R = TypeVar("R")


class StorageError(LipSyncError, OSError):
    """The storage did not do what it was asked; both kinds of error, so that whoever can do without
    it may go on.
    """

    def __init__(self, cause: OSError) -> None:
        reason = (
            "it does not answer" if cause.strerror is None else cause.strerror
        )  # callers need not know where it lies
        message = (
            f"faceModelId: the storage of face models failed ({reason}); try again, faces that "
            "are in memory go on speaking"
        )
        details = {"field": "faceModelId", "storage": "away"}
        super().__init__(
            LipSyncErrorCode.FACE_MODEL_NOT_FOUND, message, recoverable=True, details=details
        )
        self._cause = cause

    def __str__(self) -> str:
        """For the operator: with the path."""
        return f"the storage of face models failed: {self._cause}"


class ErrorTranslatingStore:
    """`FaceStore` over another one; every `OSError` becomes a `StorageError`."""

    def __init__(self, store: FaceStore) -> None:
        self._store = store

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        return await _reported(self._store.blobs(prefix))

    async def read(self, key: str) -> bytes | None:
        return await _reported(self._store.read(key))

    async def write(self, key: str, data: bytes) -> None:
        await _reported(self._store.write(key, data))

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        await _reported(self._store.replace(prefix, files))

    async def delete(self, prefix: str) -> bool:
        return await _reported(self._store.delete(prefix))

    async def close(self) -> None:
        await self._store.close()


async def _reported(call: Awaitable[R]) -> R:
    try:
        return await call
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(error) from error
