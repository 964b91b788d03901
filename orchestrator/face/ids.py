"""The one check every user and face model id passes before it may touch a path."""

from __future__ import annotations

import re
from typing import Final

from orchestrator.errors import invalid_field

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TAKEN: Final = (".", "..", "active_model.json")
"""Ids that the layout of the store uses itself."""


def check_id(value: object, field: str) -> str:
    """`value` itself when it is an id; otherwise INVALID_MESSAGE naming the wire field, for example `faceModelId`."""
    if not isinstance(value, str):
        raise invalid_field(field, f"must be a string, not {type(value).__name__}")
    if _ID.fullmatch(value) is None or value in _TAKEN:
        raise invalid_field(field, "must be 1 to 128 characters of A-Z a-z 0-9 . _ - and not a name that storage uses ('.', '..')")
    return value
