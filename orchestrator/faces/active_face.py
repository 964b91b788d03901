"""Which face each user speaks with when a message names none: a small file in storage, remembered
for when storage is slow or away.
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
"""Whose active face is remembered."""

_ATTEMPTS: Final = 8
"""To leave behind what fits the faces that are stored: each one more means that another process
changed them meanwhile.
"""


class _ActiveModel(msgspec.Struct, rename="camel"):
    active_model_id: str


class ActiveFaces:
    """Reads and writes `active_model.json`. One event loop owns it; the store reports its failures
    as `StorageError`.
    """

    def __init__(self, store: FaceStore) -> None:
        self._store = store
        self._known: LruCache[str, str] = LruCache(
            max_items=MAX_USERS, max_bytes=1 << 24, size_of=len
        )
        self._checks: Revalidations[str, str] = Revalidations()

    async def close(self) -> None:
        """End what goes on beside the sessions."""
        await self._checks.close()

    async def within(self, until_s: float, user_id: str) -> str:
        """As `read`, but what is remembered counts where storage has not answered by `until_s` of
        the loop's clock.
        """
        known = self._known.get(user_id)
        return (
            await self.read(user_id)
            if known is None
            else await self._checks.within(until_s, user_id, lambda: self.read(user_id), known)
        )

    async def read(self, user_id: str) -> str:
        """From storage, from memory only while it fails; FACE_MODEL_NOT_FOUND when nothing was
        enrolled.
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
        """See `settle_active`."""
        active = await settle_active(self._store, user_id)
        self._checks.drop(user_id)
        if active is None:
            self._known.discard(user_id)
        else:
            self._known.put(user_id, active)
        return active


async def settle_active(store: FaceStore, user_id: str, enrolled: str = "") -> str | None:
    """Have `active_model.json` name a face that is there: the one it names, else `enrolled`, else
    the first; returns its id.

    Without a face there is no file, and None is returned. Other processes enrol and delete
    meanwhile, so what is stored decides, and is looked at again after each write: whoever writes
    last finds that it fits, or mends it.
    """
    for _ in range(_ATTEMPTS):
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
    message = (
        f"the face models of user {user_id!r} were changed again and again by others; try again"
    )
    raise LipSyncError(
        LipSyncErrorCode.FACE_MODEL_NOT_FOUND,
        message,
        recoverable=True,
        details={"field": "faceModelId"},
    )


def no_active_face(user_id: str) -> LipSyncError:
    """For a message that names no face, of a user who has none."""
    message = f"user {user_id!r} has no active face model; send faceModelId or enrol a photo"
    return LipSyncError(
        LipSyncErrorCode.FACE_MODEL_NOT_FOUND,
        message,
        recoverable=False,
        details={"field": "faceModelId"},
    )


def _present(blobs: tuple[Blob, ...]) -> set[str]:
    """Faces of which anything is stored, so also one that is being written."""
    return {parts[2] for blob in blobs if len(parts := blob.key.split("/")) == 4}


def _named(data: bytes | None) -> str | None:
    """None also for a file that names no face."""
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
