"""Reads the configuration: defaults < TOML file < `LIPSYNC_*` environment < flags."""

from __future__ import annotations

import difflib
import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from orchestrator.config import SECRETS, ConfigError, ServiceConfig

ENVIRONMENT_PREFIX: Final = "LIPSYNC_"

TABLES: Final = frozenset({"auth_tokens"})
"""Settings that are tables themselves."""


def load_config(flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None) -> ServiceConfig:
    """Merge the layers; an unknown key is refused with the nearest known one."""
    return ServiceConfig(**named_settings(flags, environment, file))


def named_settings(flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None) -> dict[str, Any]:
    """What somebody set, by key; the rest stays at its default."""
    merged: dict[str, Any] = {}
    if file is not None:
        merged |= _from_toml(file)
    merged |= {
        key.removeprefix(ENVIRONMENT_PREFIX).lower(): value for key, value in environment.items() if key.startswith(ENVIRONMENT_PREFIX)
    }
    merged |= {key: value for key, value in flags.items() if value is not None}
    hints = typing.get_type_hints(ServiceConfig)
    known = {entry.name for entry in fields(ServiceConfig)}
    for key in merged:
        if key not in known:
            raise ConfigError(f"unknown configuration key {key!r}{_nearest(key, known)}")
    return {key: _convert(key, value, hints[key]) for key, value in merged.items()}


def printed(config: ServiceConfig) -> str:
    """The whole configuration as a TOML file that gives it again, but for the secrets."""
    lines = [f"{entry.name} = {_toml(getattr(config, entry.name))}" for entry in fields(config) if entry.name not in SECRETS]
    hidden = [f"# {name} is {'set' if getattr(config, name) else 'not set'}; secrets are not printed" for name in SECRETS]
    return "\n".join((*lines, *hidden))


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else json.dumps(str(value))


def _from_toml(file: Path) -> dict[str, Any]:
    try:
        return dict(_flattened(tomllib.loads(file.read_text()), ""))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read the configuration file {file}: {error}") from None


def _flattened(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """A table `[auth]` with `jwt_key` is the key `auth_jwt_key`; a key whose value is a table keeps it."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in TABLES:
            yield from _flattened(value, f"{key}_")
        else:
            yield key, value


def _nearest(key: str, known: set[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(sorted(known))}"


def _convert(key: str, value: Any, hint: Any) -> Any:
    try:
        if key in TABLES:
            pairs = value.items() if isinstance(value, dict) else (pair.split("=", 1) for pair in value.split(",") if pair)
            return {str(token).strip(): str(user).strip() for token, user in pairs}
        if isinstance(hint, types.GenericAlias):
            items = value.split(",") if isinstance(value, str) else value
            return tuple(typing.get_args(hint)[0](item.strip()) for item in items)
        if hint is bool:
            return value if isinstance(value, bool) else {"1": True, "true": True, "0": False, "false": False}[value.lower()]
        return hint(value)
    except (ValueError, KeyError, TypeError, AttributeError):
        told = "what was given" if key in SECRETS else repr(value)
        raise ConfigError(f"{key} cannot be {told}; expected {getattr(hint, '__name__', hint)}") from None
