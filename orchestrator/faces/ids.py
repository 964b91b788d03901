"""Validation of user and face model ids, which become parts of paths."""

from __future__ import annotations

import re
from typing import Final

from orchestrator.core.errors import ID_RULE, invalid_field

_PART: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_RESERVED: Final = "active_model.json"
"""File name of the store's layout that lies beside face ids."""


def is_path_part(value: str) -> bool:
    """True for an id or file name that is one part of a path and cannot lead elsewhere."""
    return _PART.fullmatch(value) is not None and value not in (".", "..")


def check_id(value: object, field: str) -> str:
    """Return a valid id; raise INVALID_MESSAGE naming the wire field, such as `faceModelId`."""
    if not isinstance(value, str):
        raise invalid_field(field, f"must be a string, not {type(value).__name__}")
    if not is_path_part(value):
        raise invalid_field(field, ID_RULE)
    if value == _RESERVED:
        raise invalid_field(field, f"{_RESERVED!r} is reserved by the storage: choose another id")
    return value
