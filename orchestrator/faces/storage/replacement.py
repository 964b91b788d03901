"""Write-ahead copy of a face: all files in one, for a storage that writes one file at a time.

While the files are written one by one, the copy is the face.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from orchestrator.faces.storage.layout import Blob, is_derived

_NAME: Final = re.compile(r"replacement\.[0-9a-f]{32}")


def new_replacement_name() -> str:
    """Unique name per writer, so that no writer removes the copy of another one."""
    return f"replacement.{uuid.uuid4().hex}"


def is_replacement(key: str) -> bool:
    """True for a file in the folder of a face that holds a whole face."""
    parts = key.split("/")
    return len(parts) == 4 and _NAME.fullmatch(parts[3]) is not None


def replacement_in(blobs: Iterable[Blob]) -> Blob | None:
    """File that replaces all others in the folder of one face while it exists."""
    return next((blob for blob in blobs if is_replacement(blob.key)), None)


def version_of(blobs: Iterable[Blob]) -> str:
    """Version of the folder of a face: changes when any file that is not derived changes.

    While the face is being replaced, only its replacement counts.
    """
    blobs = tuple(blobs)
    whole = replacement_in(blobs)
    counted = [blob for blob in blobs if not is_derived(blob.key)] if whole is None else [whole]
    lines = sorted(f"{blob.key} {blob.size_bytes} {blob.generation}" for blob in counted)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def packed(files: Mapping[str, bytes]) -> bytes:
    """Files by name, encoded as MessagePack."""
    return msgspec.msgpack.encode(dict(files))


def unpacked(data: bytes) -> dict[str, bytes]:
    """Decode `packed`; ValueError for other bytes."""
    return msgspec.msgpack.decode(data, type=dict[str, bytes])
