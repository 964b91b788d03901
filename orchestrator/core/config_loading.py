"""Reads the configuration: defaults < TOML file < `LIPSYNC_*` environment < flags."""

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

GONE: Final = {"workers": "run several instances behind a gateway (docs/deploy.md)"}
"""Keys of earlier versions, and what takes their place."""


def load_config(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None
) -> ServiceConfig:
    """Merge the layers; an unknown key is refused with the nearest known one."""
    return ServiceConfig(**named_settings(flags, environment, file))


def named_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None
) -> dict[str, Any]:
    """What somebody set, by key and as it was written; the rest stays at its default."""
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
        if key in GONE:
            raise ConfigError(f"{key} is gone: {GONE[key]}")
        if key not in KEYS:
            raise ConfigError(f"unknown configuration {_shown(key, value)}{_nearest(key)}")
    return merged


def printed(config: ServiceConfig) -> str:
    """The whole configuration as a TOML file that gives it again, but for the secrets."""
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
    """A string of TOML in ASCII alone, which is the same file whatever the terminal's encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:  # a path of bytes that are no UTF-8
        raise ConfigError(
            f"{text!r} is no Unicode text, and a TOML file can hold nothing else"
        ) from None
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
    """A table `[auth]` with `jwt_key` is the key `auth_jwt_key`; one that no key begins with stays
    whole, like a key's own value.
    """
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and any(known.startswith(f"{key}_") for known in KEYS):
            yield from _flattened(value, f"{key}_")
        else:
            yield key, value


def _shown(key: str, value: Any) -> str:
    """Never what lies in an unknown table, nor a name within `[auth]`: it may be a token."""
    if isinstance(value, dict):
        return f"table {key!r}"
    return "key in [auth]" if key.startswith(SECRET_TABLE) else f"key {key!r}"


def _nearest(key: str) -> str:
    close = difflib.get_close_matches(key, KEYS, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(sorted(KEYS))}"
