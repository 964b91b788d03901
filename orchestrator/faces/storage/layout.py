"""Keys of the face store: `face-models/{userId}/{modelId}/{file}`, and the record of one stored
file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ROOT: Final = "face-models"
"""First part of every key."""

DEMO_USER: Final = "demo"
DEMO_FACE: Final = "demo"
DERIVED: Final = "derived"
"""Folder of a face model for what is computed from it: no part of the face, and made anew where it
is missing.
"""


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored file. `generation` changes whenever its bytes are written anew."""

    key: str
    size_bytes: int
    generation: str


def face_prefix(user_id: str, model_id: str) -> str:
    """The folder of one face model."""
    return f"{ROOT}/{user_id}/{model_id}"


def active_model_key(user_id: str) -> str:
    """The file that names the face a user speaks with."""
    return f"{ROOT}/{user_id}/active_model.json"


def derived_prefix(user_id: str, model_id: str) -> str:
    """The folder of what was computed from one face model."""
    return f"{face_prefix(user_id, model_id)}/{DERIVED}"


def is_derived(key: str) -> bool:
    """Whether the file was computed from a face model rather than belonging to it."""
    parts = key.split("/")
    return len(parts) > 3 and parts[3] == DERIVED
