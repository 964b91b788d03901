"""Errors that name the field at fault, made of msgspec's path and of the declared types."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import inspect

from orchestrator.core.errors import LipSyncError, invalid_field
from orchestrator.core.type_descriptions import choices, described
from orchestrator.protocol.client_messages import MESSAGE_TYPES

MAX_QUOTED: Final = 64
"""Characters of a client's value that an error repeats."""

TAG: Final = "type"
"""Field with the type of a message."""

PATH_MARK: Final = " - at `$."
"""Text before the path at the end of msgspec's messages, where a field is at fault."""


def wire_fault(
    error: msgspec.ValidationError, declared: Any, content: bytes | str | object, whole: str
) -> LipSyncError:
    """Return the error that names the field at fault and the values that it accepts.

    msgspec offers its path only as the end of a text; all else comes from the `declared` type and
    the `content`. `whole` names the message itself, for a fault in none of its fields.
    """
    value = _untyped(content) if isinstance(content, bytes | str) else content
    kind: inspect.Type = inspect.type_info(declared)
    path = _path(error)
    for name in path:
        kind = _field_type(kind, name)
        value = value.get(name, msgspec.UNSET) if isinstance(value, dict) else msgspec.UNSET
    missing = _missing(kind, value)
    if missing is not None:
        return invalid_field(".".join((*path, missing)), "is required but missing")
    if path == [TAG]:
        return invalid_field(
            TAG, f"is not a known message type; send one of {', '.join(MESSAGE_TYPES)}"
        )
    return invalid_field(".".join(path) or whole, _correction(kind, value))


def _path(error: msgspec.ValidationError) -> list[str]:
    """Return the names of the nested fields that lead to the fault; empty outside of fields."""
    _, found, path = str(error).rpartition(PATH_MARK)
    return path.removesuffix("`").split(".") if found else []


def _untyped(content: bytes | str) -> object:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.UNSET


def _structs(kind: inspect.Type) -> list[inspect.StructType]:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return [each for each in kinds if isinstance(each, inspect.StructType)]


def _field_type(kind: inspect.Type, name: str) -> inspect.Type:
    """Return the type of a field; message types agree on the types of fields that they share."""
    fields = (field for struct in _structs(kind) for field in struct.fields)
    return next((each.type for each in fields if each.encode_name == name), inspect.AnyType())


def _missing(kind: inspect.Type, value: object) -> str | None:
    """Return the first required field that an object lacks."""
    if not isinstance(value, dict):
        return None
    for struct in _structs(kind):
        if struct.tag_field is not None and struct.tag_field not in value:
            return struct.tag_field
        if struct.tag_field is None or struct.tag == value[struct.tag_field]:
            names = (field.encode_name for field in struct.fields if field.required)
            return next((name for name in names if name not in value), None)
    return None


def _correction(kind: inspect.Type, value: object) -> str:
    """Return what is wrong with a value and what to send, with the value cut short."""
    words = choices(kind)
    if not words:
        return f"must be {described(kind)}"
    if not isinstance(value, str):
        return f"must be one of {', '.join(words)}"
    shown = repr(value if len(value) <= MAX_QUOTED else f"{value[:MAX_QUOTED]}...")
    return f"is {shown}; send one of {', '.join(words)}"
