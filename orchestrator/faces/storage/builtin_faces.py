"""Face store with the built-in demo face in view."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.core.errors import invalid_field
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, Blob, face_prefix, is_derived
from orchestrator.faces.storage.store import FaceStore


class BuiltinFaces:
    """Store that always shows the unchanged demo face of the package beside the stored faces.

    Data derived from the demo face lies in the writable store, as for any other face. A listing of
    the demo face alone comes from the package, so it does not wait for the writable store.
    """

    def __init__(self, own: FaceStore, shipped: FaceStore) -> None:
        self._own = own
        self._shipped = shipped
        self._fixed = face_prefix(DEMO_USER, DEMO_FACE)

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        if prefix == self._fixed:
            return await self._shipped.blobs(prefix)
        own = {
            blob.key: blob for blob in await self._own.blobs(prefix) if not self._is_fixed(blob.key)
        }
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
            raise invalid_field(
                "faceModelId",
                "the demo face is part of the package and read-only: choose another id",
            )
