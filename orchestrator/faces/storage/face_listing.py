"""Files of a face model in a listing of the store: names, completeness, and errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.storage.layout import Blob, is_derived
from orchestrator.faces.storage.replacement import is_replacement, replacement_in

METADATA: Final = "metadata.json"
KEYPOINTS: Final = "keypoints.json"
EMBEDDINGS: Final = "embeddings.json"
EXPRESSIONS: Final = "expression_templates.json"
PICTURE: Final = "neutral_pose.jpg"
REQUIRED: Final = (METADATA, KEYPOINTS, EMBEDDINGS, PICTURE)
READ: Final = (*REQUIRED, EXPRESSIONS)
"""Files that are read; others in the folder are ignored."""

MAX_FILE_BYTES: Final = 32 * 1024 * 1024
"""Largest file of a face model that is read."""


def face_ids(blobs: Iterable[Blob]) -> tuple[str, ...]:
    """Ids of the complete faces in a listing of the folder of their user, sorted."""
    parts = [
        blob.key.split("/")
        for blob in blobs
        if is_replacement(blob.key) or blob.key.endswith(f"/{METADATA}")
    ]
    return tuple(sorted({part[2] for part in parts if len(part) == 4}))


def is_unfinished(blobs: Iterable[Blob]) -> bool:
    """True while the folder of a face is being written or removed.

    The metadata completes a face: it is written last and removed first.
    """
    names = _sizes(blobs).keys()
    return (
        bool(names)
        and METADATA not in names
        and not any(is_replacement(blob.key) for blob in blobs)
    )


def check_listing(user_id: str, model_id: str, blobs: Iterable[Blob]) -> None:
    """Raise for a listing that holds no readable face.

    FACE_MODEL_NOT_FOUND for an empty folder; FACE_MODEL_INCOMPATIBLE naming a file that is missing
    or too large. `recoverable` where the metadata is missing: the face is complete in a moment,
    unless its writer gave up.
    """
    blobs = tuple(blobs)
    sizes, whole = _sizes(blobs), replacement_in(blobs)
    if not sizes:
        raise face_not_found(user_id, model_id)
    if is_unfinished(blobs):
        raise unusable_face(
            model_id,
            METADATA,
            "the file is missing: the face is being written, or its writer gave up",
            recoverable=True,
        )
    required, read = (REQUIRED, READ) if whole is None else ((), (_name_of(whole),))
    for name in required:
        if name not in sizes:
            raise unusable_face(model_id, name, "the file is missing")
    for name in read:
        if sizes.get(name, 0) > MAX_FILE_BYTES:
            raise unusable_face(
                model_id, name, f"{sizes[name]} bytes, at most {MAX_FILE_BYTES} are read"
            )


def face_not_found(user_id: str, model_id: str) -> LipSyncError:
    """Error for a face model that is not stored."""
    message = f"no face model {model_id!r} for user {user_id!r}"
    return LipSyncError(
        LipSyncErrorCode.FACE_MODEL_NOT_FOUND,
        message,
        recoverable=False,
        details={"field": "faceModelId"},
    )


def unusable_face(
    model_id: str, name: str, message: str, field: str = "", *, recoverable: bool = False
) -> LipSyncError:
    """FACE_MODEL_INCOMPATIBLE naming the file, and the field where there is one."""
    where = f"{name}, field {field}" if field else name
    details = {"faceModelId": model_id, "file": name} | ({"field": field} if field else {})
    text = f"face model {model_id!r} cannot be used: {where}: {message}"
    return LipSyncError(
        LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, text, recoverable=recoverable, details=details
    )


def _sizes(blobs: Iterable[Blob]) -> dict[str, int]:
    return {_name_of(blob): blob.size_bytes for blob in blobs if not is_derived(blob.key)}


def _name_of(blob: Blob) -> str:
    return blob.key.rsplit("/", 1)[-1]
