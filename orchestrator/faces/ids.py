"""The one check every user and face model id passes before it may touch a path."""

from __future__ import annotations

import re
from typing import Final

from orchestrator.core.errors import ID_RULE, invalid_field

_PART: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TAKEN: Final = "active_model.json"
"""The one name that the layout of the store uses beside ids."""


def is_path_part(value: str) -> bool:
    """Whether `value` may be one part of a path: an id or a file name that cannot lead anywhere
    else.
    """
    return _PART.fullmatch(value) is not None and value not in (".", "..")


def check_id(value: object, field: str) -> str:
    """`value` itself when it is an id; otherwise INVALID_MESSAGE naming the wire field, for example
    `faceModelId`.
    """
    if not isinstance(value, str):
        raise invalid_field(field, f"must be a string, not {type(value).__name__}")
    if not is_path_part(value):
        raise invalid_field(field, ID_RULE)
    if value == _TAKEN:
        raise invalid_field(field, f"{_TAKEN!r} is a name that storage uses itself; choose another")
    return value
