"""Interface of the face store: small files by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from orchestrator.faces.storage.layout import Blob


class FaceStore(Protocol):
    """Small files by key.

    Keys are `face-models/{userId}/{modelId}/{file}`,
    `face-models/{userId}/{modelId}/derived/{file}` and `face-models/{userId}/active_model.json`.
    Where the storage itself fails, every call raises an `OSError`.
    """

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        """All files below the folder `prefix`, sorted by key."""
        ...

    async def read(self, key: str) -> bytes | None:
        """Bytes of the file; None where there is no such file."""
        ...

    async def write(self, key: str, data: bytes) -> None:
        """Write one file; a reader sees the old bytes or the new ones."""
        ...

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        """Replace the content of the folder `prefix` by `files` (by name), all or nothing.

        The generations distinguish old files from new ones. While the storage writes file by file,
        the folder also holds one file with all of them, and that one counts; see `replacement`.
        """
        ...

    async def delete(self, prefix: str) -> bool:
        """Remove the folder or file; True where there was one."""
        ...

    async def close(self) -> None:
        """Wait shortly for running calls at shutdown."""
        ...
