"""Keys of the face store, and the record of one stored file.

A key is `face-models/{userId}/{modelId}/{file}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ROOT: Final = "face-models"
"""First part of every key."""

DEMO_USER: Final = "demo"
DEMO_FACE: Final = "demo"
DERIVED: Final = "derived"
"""Subfolder of a face model for derived data, which is recomputed where it is missing."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored file. `generation` changes whenever its bytes are rewritten."""

    key: str
    size_bytes: int
    generation: str


def face_prefix(user_id: str, model_id: str) -> str:
    """Folder of one face model."""
    return f"{ROOT}/{user_id}/{model_id}"


def active_model_key(user_id: str) -> str:
    """File that names the active face of a user."""
    return f"{ROOT}/{user_id}/active_model.json"


def derived_prefix(user_id: str, model_id: str) -> str:
    """Folder of the data derived from one face model."""
    return f"{face_prefix(user_id, model_id)}/{DERIVED}"


def is_derived(key: str) -> bool:
    """True for a file that was derived from a face model and does not belong to it."""
    parts = key.split("/")
    return len(parts) > 3 and parts[3] == DERIVED
