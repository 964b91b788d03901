"""Active face of each user, used when a message names none.

It is a small file in storage, cached for when storage is slow or away.
"""

from __future__ import annotations

from typing import Final

import msgspec

from orchestrator.core.cache import LruCache
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.ids import check_id
from orchestrator.faces.revalidation import Revalidations
from orchestrator.faces.storage.errors import StorageError
from orchestrator.faces.storage.face_listing import face_ids
from orchestrator.faces.storage.layout import ROOT, Blob, active_model_key
from orchestrator.faces.storage.store import FaceStore

MAX_USERS: Final = 4096
"""Users whose active face is cached."""

_MAX_ATTEMPTS: Final = 8
"""Attempts to make the file match the stored faces.

Each further attempt means that another process changed the faces meanwhile.
"""


class _ActiveModel(msgspec.Struct, rename="camel"):
    active_model_id: str


class ActiveFaces:
    """Reader and writer of `active_model.json`. One event loop owns it.

    The store reports its failures as `StorageError`.
    """

    def __init__(self, store: FaceStore) -> None:
        self._store = store
        self._known: LruCache[str, str] = LruCache(
            max_items=MAX_USERS, max_bytes=1 << 24, size_of=len
        )
        self._checks: Revalidations[str, str] = Revalidations()

    async def close(self) -> None:
        """Cancel background revalidations."""
        await self._checks.close()

    async def within(self, until_s: float, user_id: str) -> str:
        """Read as `read`, but return the cached id if storage has not responded by `until_s`.

        `until_s` is the loop's clock.
        """
        known = self._known.get(user_id)
        return (
            await self.read(user_id)
            if known is None
            else await self._checks.within(until_s, user_id, lambda: self.read(user_id), known)
        )

    async def read(self, user_id: str) -> str:
        """Read from storage, or from the cache while storage fails.

        Raises FACE_MODEL_NOT_FOUND when nothing is enrolled.
        """
        try:
            data = await self._store.read(active_model_key(user_id))
        except StorageError:
            known = self._known.get(user_id)
            if known is None:
                raise
            return known
        if data is None:
            self._known.discard(user_id)
            raise no_active_face(user_id)
        active = _decoded(user_id, data)
        self._known.put(user_id, active)
        return active

    async def write(self, user_id: str, model_id: str) -> None:
        """Make a face the active one."""
        await _write(self._store, user_id, model_id)
        self._checks.drop(user_id)
        self._known.put(user_id, model_id)

    async def settle(self, user_id: str) -> str | None:
        """Repair the file, see `settle_active`, and cache the result."""
        active = await settle_active(self._store, user_id)
        self._checks.drop(user_id)
        if active is None:
            self._known.discard(user_id)
        else:
            self._known.put(user_id, active)
        return active


async def settle_active(store: FaceStore, user_id: str, enrolled: str = "") -> str | None:
    """Make `active_model.json` name a stored face and return its id.

    It stays if the face exists; else `enrolled` is chosen, else the first face. Without a face the
    file is removed and None returned.

    Other processes enrol and delete at the same time. The listing therefore decides, and is read
    again after each write: the last writer finds a match or repairs it.
    """
    for _ in range(_MAX_ATTEMPTS):
        named = _named(await store.read(active_model_key(user_id)))
        blobs = await store.blobs(f"{ROOT}/{user_id}")
        if named in _present(blobs):
            return named
        whole = face_ids(blobs)
        if whole:
            await _write(store, user_id, enrolled if enrolled in whole else whole[0])
        elif active_model_key(user_id) in [blob.key for blob in blobs]:
            await store.delete(active_model_key(user_id))
        else:
            return None
    message = f"the face models of user {user_id!r} kept changing: try again"
    raise LipSyncError(
        LipSyncErrorCode.FACE_MODEL_NOT_FOUND,
        message,
        recoverable=True,
        details={"field": "faceModelId"},
    )


def no_active_face(user_id: str) -> LipSyncError:
    """Error for a message without a face id from a user without an active face."""
    message = f"user {user_id!r} has no active face model: send faceModelId or enrol a photo"
    return LipSyncError(
        LipSyncErrorCode.FACE_MODEL_NOT_FOUND,
        message,
        recoverable=False,
        details={"field": "faceModelId"},
    )


def _present(blobs: tuple[Blob, ...]) -> set[str]:
    """Ids with any stored file, so also a face that is being written."""
    return {parts[2] for blob in blobs if len(parts := blob.key.split("/")) == 4}


def _named(data: bytes | None) -> str | None:
    """Id in the file; None without a file, and for one that names no face."""
    try:
        return None if data is None else _decoded("", data)
    except LipSyncError:
        return None


async def _write(store: FaceStore, user_id: str, model_id: str) -> None:
    await store.write(active_model_key(user_id), msgspec.json.encode({"activeModelId": model_id}))


def _decoded(user_id: str, data: bytes) -> str:
    try:
        return check_id(
            msgspec.json.decode(data, type=_ActiveModel).active_model_id, "activeModelId"
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, LipSyncError) as error:
        message = f"active_model.json of user {user_id!r} cannot be used: {error}"
        details = {"file": "active_model.json", "field": "activeModelId"}
        raise LipSyncError(
            LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, message, recoverable=False, details=details
        ) from error
