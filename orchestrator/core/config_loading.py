"""Layers of the configuration: defaults < TOML file < `LIPSYNC_*` environment < flags."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from orchestrator.core.config import SECRET_TABLE, SECRETS, ConfigError, ServiceConfig
from orchestrator.core.downloads import FOLDER_VARIABLE

ENVIRONMENT_PREFIX: Final = "LIPSYNC_"

KEYS: Final = frozenset(entry.name for entry in fields(ServiceConfig))

REMOVED_KEYS: Final = {"workers": "run several instances behind a gateway (docs/deploy.md)"}
"""Keys of earlier versions, and their replacements."""


def named_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None
) -> dict[str, Any]:
    """Merge the layers into the explicit settings, by key and as written.

    Raises `ConfigError` for an unknown key, and names the nearest known one.
    """
    merged: dict[str, Any] = {}
    if file is not None:
        merged |= _from_toml(file)
    merged |= {
        key.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for key, value in environment.items()
        if key.startswith(ENVIRONMENT_PREFIX)
        and key != FOLDER_VARIABLE  # read before there is a configuration
    }
    merged |= {key: value for key, value in flags.items() if value is not None}
    for key, value in merged.items():
        if key in REMOVED_KEYS:
            raise ConfigError(f"{key} was removed: {REMOVED_KEYS[key]}")
        if key not in KEYS:
            raise ConfigError(f"unknown configuration {_shown(key, value)}{_nearest(key)}")
    return merged


def printed(config: ServiceConfig) -> str:
    """Write the configuration as a TOML file that reads back the same, without the secrets."""
    lines = [
        f"{entry.name} = {_toml(getattr(config, entry.name))}"
        for entry in fields(config)
        if entry.name not in SECRETS
    ]
    hidden = [
        f"# {name} is {'set' if getattr(config, name) else 'not set'}; secrets are not printed"
        for name in SECRETS
    ]
    return "\n".join((*lines, *hidden))


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else _quoted(str(value))


def _quoted(text: str) -> str:
    """Write a TOML string in ASCII only: the terminal's encoding cannot change it."""
    try:
        text.encode()
    except UnicodeEncodeError:  # a path of bytes that are no UTF-8
        raise ConfigError(f"{text!r} is no Unicode text, and TOML holds only Unicode") from None
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in ('"', "\\"):
        return f"\\{character}"
    return character if " " <= character <= "~" else f"\\U{ord(character):08x}"


def _from_toml(file: Path) -> dict[str, Any]:
    try:
        return dict(_flattened(tomllib.loads(file.read_text("utf-8-sig")), ""))
    except (OSError, ValueError) as error:  # bytes that are no UTF-8, and text that is no TOML
        raise ConfigError(f"cannot read the configuration file {file}: {error}") from None


def _flattened(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Flatten tables: `jwt_key` in `[auth]` is the key `auth_jwt_key`.

    A table whose name starts no key stays whole, as a key's value.
    """
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and any(known.startswith(f"{key}_") for known in KEYS):
            yield from _flattened(value, f"{key}_")
        else:
            yield key, value


def _shown(key: str, value: Any) -> str:
    """Describe an unknown key without its value, and without its name in `[auth]`: a token may be
    in the wrong place.
    """
    if isinstance(value, dict):
        return f"table {key!r}"
    return "key in [auth]" if key.startswith(SECRET_TABLE) else f"key {key!r}"


def _nearest(key: str) -> str:
    close = difflib.get_close_matches(key, KEYS, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(sorted(KEYS))}"
