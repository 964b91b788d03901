"""Conversion of one configuration value, text or TOML, to its declared type.

msgspec checks types and ranges. This module adds the forms of text (comma lists, numbers) and the
rules that no type can state: paths, origins, addresses and tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, inspect

from orchestrator.core.type_descriptions import described

ADDRESS: Final = re.compile(r"([^\s:/@\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
MAX_PORT: Final = 65_535
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def accepted(value: Any, hint: Any) -> Any:
    """Convert a setting to its declared type `hint`, and apply the rule of its `Meta`.

    Raises ValueError whose message is the expected value in words.
    """
    kind = inspect.type_info(hint)
    try:
        parsed = _parsed(value, kind)
        is_strict = not isinstance(parsed, str)
        return _ruled(msgspec.convert(parsed, hint, strict=is_strict, dec_hook=_constructed), kind)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(described(kind)) from None


def origin(value: str) -> str:
    """Return an origin as browsers send it: lower case, no slash, no default port.

    Raises ValueError for anything but a scheme and a host with an optional port.
    """
    if value == "null":  # pages out of files, and sandboxed ones
        return value
    parts = urlsplit(value)
    surplus = parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment
    if not parts.scheme or not parts.hostname or surplus:
        raise ValueError
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    has_port = parts.port is not None and parts.port != DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}:{parts.port}" if has_port else f"{parts.scheme}://{host}"


def addresses(value: str) -> str:
    """Refuse all but `host:port`, or several with commas between; IPv6 stands in brackets."""
    for address in value.split(",") if value else ():
        found = ADDRESS.fullmatch(address.strip())
        if found is None or not 0 < int(found["port"]) <= MAX_PORT:
            raise ValueError
    return value


def users_of_tokens(value: Mapping[str, str]) -> dict[str, str]:
    """Strip tokens and user ids; refuse empty ones."""
    users = {token.strip(): user.strip() for token, user in value.items()}
    if not all(users) or not all(users.values()):
        raise ValueError
    return users


def rule(check: Any, expected: str) -> Meta:
    """Annotation of a type with `check`, which returns the value to use or raises ValueError."""
    return Meta(description=expected, extra={"rule": check})


def _parsed(value: Any, kind: inspect.Type) -> Any:
    """Return `value` with text taken apart where the type is no text."""
    match kind:
        case inspect.Metadata(type=inner):
            return _parsed(value, inner)
        case inspect.VarTupleType() if isinstance(value, str):
            return _items(value)
        case inspect.DictType() if isinstance(value, str):
            # A token may end with `=`, as base64 does; a user id holds none.
            pairs = (item.rpartition("=") for item in _items(value))
            return {token: user for token, _, user in pairs}
        case inspect.IntType() | inspect.FloatType():
            return _number(value)
    return value


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _number(value: Any) -> Any:
    """Return a number for its text, as an int where it is whole; anything else unchanged."""
    number = float(value) if isinstance(value, str) else value
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _ruled(value: Any, kind: inspect.Type) -> Any:
    match kind:
        case inspect.VarTupleType(item_type=item):
            return tuple(_ruled(each, item) for each in value)
        case inspect.Metadata(extra={"rule": check}):
            return check(value)
    return value


def _constructed(kind: type, value: Any) -> Any:
    """Construct the types that msgspec does not know: paths and models."""
    if not isinstance(value, str | kind) or not str(value) or "\0" in str(value):
        raise ValueError
    return kind(value)
