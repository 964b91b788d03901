"""What a setting may be: its kind, read strictly from text or TOML, and the rule that stands beside
its key.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from orchestrator.core.types import LipSyncModel

SWITCH: Final = {"1": True, "true": True, "0": False, "false": False}
ADDRESS: Final = re.compile(r"([^\s:/@\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
MOST_PORT: Final = 65_535
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Rule(Protocol):
    """Narrows a kind; stands in the annotation of a key."""

    def __call__(self, value: Any) -> Any:
        """The value as it is used. Raises ValueError for one that may not be."""
        ...

    def described(self, kind: str) -> str:
        """What is expected, for an error message."""
        ...


@dataclass(frozen=True, slots=True)
class Between:
    """Numbers, both ends included; so none that is infinite or no number."""

    least: float
    most: float

    def __call__(self, value: float) -> float:
        if not self.least <= value <= self.most:
            raise ValueError
        return value

    def described(self, kind: str) -> str:
        return f"{kind} from {self.least:.15g} to {self.most:.15g}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a page, written as browsers send it: small letters, no slash at the end, no
    port that goes without saying.
    """

    def __call__(self, value: str) -> str:
        if value == "null":  # pages out of files, and sandboxed ones
            return value
        parts = urlsplit(value)
        if (
            not parts.scheme
            or not parts.hostname
            or parts.username is not None
            or parts.path.strip("/")
            or parts.query
            or parts.fragment
        ):
            raise ValueError
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        told = parts.port is not None and parts.port != DEFAULT_PORTS.get(parts.scheme)
        return f"{parts.scheme}://{host}:{parts.port}" if told else f"{parts.scheme}://{host}"

    def described(self, kind: str) -> str:
        return "origins such as https://app.example.com"


@dataclass(frozen=True, slots=True)
class Addresses:
    """`host:port`, several with commas between them; no scheme, and an IPv6 address in brackets."""

    def __call__(self, value: str) -> str:
        if value and not all(map(_is_address, value.split(","))):
            raise ValueError
        return value

    def described(self, kind: str) -> str:
        return "host:port, or several as gpu1:8001,gpu2:8001"


def accepted(value: Any, hint: Any) -> Any:
    """`value` as a setting annotated with `hint` has it. Raises ValueError whose message is what
    was expected.
    """
    try:
        return _read(value, hint)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(_described(hint)) from None


def _read(value: Any, hint: Any) -> Any:
    kind, rule = _parts(hint)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is None:
        read = _READERS[kind](value)
        return read if rule is None else rule(read)
    if origin is Literal:
        return _choice(value, arguments)
    return (
        tuple(_read(item, arguments[0]) for item in _items(value))
        if origin is tuple
        else _users_of_tokens(value)
    )


def _is_address(text: str) -> bool:
    found = ADDRESS.fullmatch(text.strip())
    return found is not None and 0 < int(found["port"]) <= MOST_PORT


def _described(hint: Any) -> str:
    kind, rule = _parts(hint)
    if typing.get_origin(kind) is tuple:
        return _described(typing.get_args(kind)[0])
    if typing.get_origin(kind) is Literal:
        return _alternatives(typing.get_args(kind))
    if kind is LipSyncModel:
        return _alternatives([model.value for model in LipSyncModel.known()])
    name = _NAMES.get(kind, "TOKEN=USER,TOKEN=USER or a table of them")
    return name if rule is None else rule.described(name)


def _parts(hint: Any) -> tuple[Any, Rule | None]:
    """The kind, and the rule of `Annotated[kind, rule]`."""
    if typing.get_origin(hint) is not typing.Annotated:
        return hint, None
    kind, rule = typing.get_args(hint)
    return kind, rule


def _alternatives(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(_unless_bool(value))


def _number(value: Any) -> float:
    return float(_unless_bool(value))


def _unless_bool(value: Any) -> int | float | str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    return value


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if _text(value).lower() not in SWITCH:
        raise ValueError
    return SWITCH[value.lower()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError
    return Path(value)


def _model(value: Any) -> LipSyncModel:
    return LipSyncModel(_text(value))


def _choice(value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise ValueError
    return value


def _items(value: Any) -> Iterable[Any]:
    """Of a list, or of text with commas."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, list | tuple):
        raise ValueError
    return value


def _users_of_tokens(value: Any) -> dict[str, str]:
    """Of a table, or of text; a token may end with `=`, as those in base64 do, and a user's id
    holds none.
    """
    if isinstance(value, Mapping):
        pairs = [(_text(token), _text(user)) for token, user in value.items()]
    else:
        pairs = [
            (token, user) for token, _, user in (item.rpartition("=") for item in _items(value))
        ]
    users = {token.strip(): user.strip() for token, user in pairs}
    if not all(users) or not all(users.values()):
        raise ValueError
    return users


_READERS: Final[Mapping[Any, Callable[[Any], Any]]] = {
    bool: _switch,
    int: _whole,
    float: _number,
    str: _text,
    Path: _path,
    LipSyncModel: _model,
}

_NAMES: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}
