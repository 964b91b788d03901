"""All files of a face in one, for a storage that writes one file at a time: while they are written
one by one, this one is the face.
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
    """A name of its own for every writer, so that none removes what another one wrote."""
    return f"replacement.{uuid.uuid4().hex}"


def is_replacement(key: str) -> bool:
    """Whether the file, in the folder of a face, holds a whole face."""
    parts = key.split("/")
    return len(parts) == 4 and _NAME.fullmatch(parts[3]) is not None


def replacement_in(blobs: Iterable[Blob]) -> Blob | None:
    """The file that stands for all others of one face's folder while it is there."""
    return next((blob for blob in blobs if is_replacement(blob.key)), None)


def version_of(blobs: Iterable[Blob]) -> str:
    """One string for the state of a face model's folder: it changes when any file but a derived one
    is written, added or removed.

    While the face is being replaced, its replacement alone counts.
    """
    blobs = tuple(blobs)
    whole = replacement_in(blobs)
    counted = [blob for blob in blobs if not is_derived(blob.key)] if whole is None else [whole]
    lines = sorted(f"{blob.key} {blob.size_bytes} {blob.generation}" for blob in counted)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def packed(files: Mapping[str, bytes]) -> bytes:
    """Files by name, as MessagePack."""
    return msgspec.msgpack.encode(dict(files))


def unpacked(data: bytes) -> dict[str, bytes]:
    """The way back; ValueError where it is none."""
    return msgspec.msgpack.decode(data, type=dict[str, bytes])
