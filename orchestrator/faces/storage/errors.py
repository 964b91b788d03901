"""Translation of storage failures into errors that clients can act on.

An unavailable storage is not the fault of the face, and may pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TypeVar

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.storage.layout import Blob
from orchestrator.faces.storage.store import FaceStore

R = TypeVar("R")


class StorageError(LipSyncError, OSError):
    """Failure of the face storage.

    Both a `LipSyncError`, for clients, and an `OSError`, for callers that can go on without
    storage.
    """

    def __init__(self, cause: OSError) -> None:
        reason = (
            "it does not answer" if cause.strerror is None else cause.strerror
        )  # without the path, which clients need not know
        message = (
            f"faceModelId: the storage of face models failed ({reason}): try again; cached faces "
            "stay usable"
        )
        details = {"field": "faceModelId", "storage": "away"}
        super().__init__(
            LipSyncErrorCode.FACE_MODEL_NOT_FOUND, message, recoverable=True, details=details
        )
        self._cause = cause

    def __str__(self) -> str:
        """Message for the operator, with the path."""
        return f"the storage of face models failed: {self._cause}"


class ErrorTranslatingStore:
    """`FaceStore` that raises a `StorageError` for every `OSError` of the wrapped store.

    `open_store` applies it, once, to the store it returns.
    """

    def __init__(self, store: FaceStore) -> None:
        self._store = store

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        return await _translated(self._store.blobs(prefix))

    async def read(self, key: str) -> bytes | None:
        return await _translated(self._store.read(key))

    async def write(self, key: str, data: bytes) -> None:
        await _translated(self._store.write(key, data))

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        await _translated(self._store.replace(prefix, files))

    async def delete(self, prefix: str) -> bool:
        return await _translated(self._store.delete(prefix))

    async def close(self) -> None:
        await self._store.close()


async def _translated(call: Awaitable[R]) -> R:
    try:
        return await call
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(error) from error
