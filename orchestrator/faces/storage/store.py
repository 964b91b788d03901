"""Interface of the face store: small files by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from orchestrator.faces.storage.layout import Blob


class FaceStore(Protocol):
    """Small files by key: `face-models/{userId}/{modelId}/{file}`,
    `face-models/{userId}/{modelId}/derived/{file}` and `face-models/{userId}/active_model.json`.

    Where the storage itself fails, every call raises an `OSError`.
    """

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        """All files below the folder `prefix`, by key."""
        ...

    async def read(self, key: str) -> bytes | None:
        """The file's bytes; None when there is no such file."""
        ...

    async def write(self, key: str, data: bytes) -> None:
        """Write one file; a reader sees the old bytes or the new ones."""
        ...

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        """Make `files` (by name) all that the folder `prefix` holds; where that fails, it holds
        what it held, or all of them.

        A reader tells an old file from a new one by its generation. While the storage writes file
        by file, the folder also holds one with all of them, and that one counts; see `replacement`.
        """
        ...

    async def delete(self, prefix: str) -> bool:
        """Remove the folder or file; says whether there was one."""
        ...

    async def close(self) -> None:
        """At the service's end: let calls under way end, as long as that takes a moment."""
        ...
