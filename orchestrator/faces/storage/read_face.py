"""Consistent read of a face model that others may write at the same time."""

from __future__ import annotations

import asyncio
from typing import Final

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel
from orchestrator.faces.storage.face_format import parse_face_model, unpacked_face
from orchestrator.faces.storage.face_listing import READ, check_listing
from orchestrator.faces.storage.layout import Blob, face_prefix, is_derived
from orchestrator.faces.storage.replacement import replacement_in, version_of
from orchestrator.faces.storage.store import FaceStore

_MAX_ATTEMPTS: Final = 4
"""Reads of a face before giving up.

One replacement changes a face twice during a read: to the replacement, and to its files.
"""


async def read_face_model(store: FaceStore, user_id: str, model_id: str) -> FaceModel:
    """Read until the folder did not change during the read, so that two faces never mix.

    Raises FACE_MODEL_NOT_FOUND and FACE_MODEL_INCOMPATIBLE, `recoverable` while the face is being
    written.
    """
    prefix = face_prefix(user_id, model_id)
    blobs = await store.blobs(prefix)
    for _ in range(_MAX_ATTEMPTS):
        version = version_of(blobs)
        check_listing(user_id, model_id, blobs)
        files = await _files(store, model_id, blobs)
        blobs = await store.blobs(prefix)
        if version_of(blobs) == version:
            return await asyncio.to_thread(parse_face_model, user_id, model_id, files, version)
    message = f"face model {model_id!r} kept changing while it was read: try again"
    raise LipSyncError(LipSyncErrorCode.FACE_MODEL_NOT_FOUND, message, recoverable=True)


async def _files(store: FaceStore, model_id: str, blobs: tuple[Blob, ...]) -> dict[str, bytes]:
    """File contents by name, from the replacement where there is one; without removed files."""
    whole = replacement_in(blobs)
    if whole is not None:
        data = await store.read(whole.key)
        return {} if data is None else unpacked_face(model_id, whole.key.rsplit("/", 1)[-1], data)
    keys = {blob.key.rsplit("/", 1)[-1]: blob.key for blob in blobs if not is_derived(blob.key)}
    read = {name: await store.read(keys[name]) for name in READ if name in keys}
    return {name: data for name, data in read.items() if data is not None}
