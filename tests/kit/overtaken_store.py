"""A store of one process that is overtaken by another one, between what it saw and what it does
about it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from orchestrator.faces.storage.layout import Blob
from orchestrator.faces.storage.store import FaceStore


class OvertakenStore:
    """Passes everything on; after it listed the folder `once`, and before anybody hears of it,
    `meanwhile()` happens, the first time.
    """

    def __init__(
        self, store: FaceStore, once: str, meanwhile: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._once = once
        self._meanwhile = meanwhile

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        seen = await self._store.blobs(prefix)
        if prefix == self._once:
            self._once = ""
            await self._meanwhile()
        return seen

    async def read(self, key: str) -> bytes | None:
        return await self._store.read(key)

    async def write(self, key: str, data: bytes) -> None:
        await self._store.write(key, data)

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        await self._store.replace(prefix, files)

    async def delete(self, prefix: str) -> bool:
        return await self._store.delete(prefix)

    async def close(self) -> None:
        await self._store.close()
