"""Descriptions of declared types for error messages: "a whole number from 0 to 65535"."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from msgspec import inspect

from orchestrator.core.errors import ID_SYNTAX
from orchestrator.core.types import LipSyncModel

EXACT_INTEGERS: Final = 2**53
"""JSON programs count exactly up to here; a bound this far out is no news to a reader."""


def described(kind: inspect.Type) -> str:
    """Return the words for the values that a declared type accepts.

    The description of `msgspec.Meta` takes precedence over the generated words.
    """
    match kind:
        case inspect.Metadata(type=inner, extra_json_schema=schema):
            return str((schema or {}).get("description") or described(inner))
        case inspect.UnionType(types=types):
            known = (each for each in types if not isinstance(each, inspect.NoneType))
            return _alternatives(dict.fromkeys(map(described, known)))
        case inspect.VarTupleType(item_type=item):
            return described(item)
        case inspect.IntType(ge=least, le=most):
            return _number("a whole number", least, most)
        case inspect.FloatType(ge=least, le=most):
            return _number("a number", least, most)
        case inspect.StrType(pattern=pattern):
            return "text" if pattern is None else ID_SYNTAX
        case inspect.BoolType():
            return "true or false"
        case inspect.CustomType(cls=cls) if cls is Path:
            return "a path"
    return _alternatives(choices(kind)) or "an object"


def choices(kind: inspect.Type) -> tuple[str, ...]:
    """Return the accepted words of a type with a fixed set of them; empty for other types."""
    match kind:
        case inspect.UnionType(types=types):
            return tuple(word for each in types for word in choices(each))
        case inspect.CustomType(cls=cls) if cls is LipSyncModel:
            return tuple(model.value for model in LipSyncModel.known())
        case inspect.EnumType(cls=cls):
            return tuple(str(member.value) for member in cls)
        case inspect.LiteralType(values=values):
            return tuple(map(str, values))
    return ()


def _number(noun: str, least: Any, most: Any) -> str:
    if least is None or least <= -EXACT_INTEGERS:
        return noun
    if most is None or most >= EXACT_INTEGERS:
        return f"{noun}, {least:.15g} or more"
    return f"{noun} from {least:.15g} to {most:.15g}"


def _alternatives(words: Iterable[str]) -> str:
    *others, last = [*words] or [""]
    return f"{', '.join(others)} or {last}" if others else last
