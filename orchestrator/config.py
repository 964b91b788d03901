"""Configuration as data: defaults < TOML file < `LIPSYNC_*` environment < flags."""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from orchestrator.types import LipSyncModel

ENVIRONMENT_PREFIX = "LIPSYNC_"


POSITIVE: Final = (
    "max_concurrent_sessions",
    "face_model_cache_size",
    "face_cache_mb",
    "chunk_deadline_ms",
    "face_encoding_deadline_ms",
    "inbox_ms",
    "outbox_frames",
)
"""Settings that nothing works without."""


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what to do."""


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """Everything that can be set. Keys are the same in the file, in the environment (upper case) and as flags."""

    host: str = "127.0.0.1"
    """Address to listen on; another than loopback needs `insecure`."""
    port: int = 8080
    """TCP port of HTTP and WebSocket; 0 takes a free one."""
    insecure: bool = False
    """Allow listening beyond loopback although nobody is asked for a token."""
    storage: Path = Path("storage")
    """Folder of the face models."""
    model_repository: Path = Path(__file__).parent.parent / "model_repository"
    """Triton's model repository."""
    triton_url: str = ""
    """gRPC address of a running Triton, `host:port`; empty starts the embedded one."""
    default_model: LipSyncModel = LipSyncModel.TPSM
    """Model used when the client has no preference."""
    fallback_chain: tuple[LipSyncModel, ...] = (
        LipSyncModel.TPSM,
        LipSyncModel.WAV2LIP,
        LipSyncModel.SADTALKER,
        LipSyncModel.STATIC,
    )
    """Tried in this order when a model fails."""
    models: tuple[LipSyncModel, ...] = ()
    """Models to serve, where not all shall take memory; empty serves every one whose networks are there. `static` is always served."""
    commercial_safe: bool = False
    """Serve only models whose code and weights allow commercial use; those that state nothing do not."""
    max_concurrent_sessions: int = 100
    """Sessions accepted at once; further ones get SESSION_LIMIT."""
    face_model_cache_size: int = 50
    """Face models kept in memory."""
    face_cache_mb: int = 512
    """Memory for faces and what is derived from them."""
    chunk_deadline_ms: int = 300
    """Time a model has for the frames of one chunk before the next in the chain takes over."""
    face_encoding_deadline_ms: int = 60_000
    """Time a model's networks have to look at a face for the first time; meanwhile sessions speak with another model."""
    inbox_ms: int = 30_000
    """Audio a session may have waiting; beyond it the oldest chunk becomes silence."""
    outbox_frames: int = 60
    """Encoded frames that may wait for a slow client before the session's work waits too."""
    pacing_lead_ms: int = 500
    """How far ahead of real time frames may leave when audio arrives in a burst."""
    send_timeout_s: float = 20.0
    """A client that takes no data for this long is disconnected."""

    def __post_init__(self) -> None:
        if not self.insecure and not _is_loopback(self.host):
            raise ConfigError(
                f"host {self.host!r} is reachable from other machines and this service asks nobody for a token; "
                "listen on 127.0.0.1, or pass --insecure to accept that"
            )
        for name in POSITIVE:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be more than 0")
        if not self.serves(self.default_model):
            wanted = ",".join(self.models)
            raise ConfigError(f"default_model {self.default_model.value!r} is not among models ({wanted}); add it, or name one of them")

    def serves(self, model: LipSyncModel) -> bool:
        """Whether `models` lets a model in."""
        return not self.models or model in self.models or model is LipSyncModel.STATIC


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


def _from_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read the configuration file {file}: {error}") from None


def _nearest(key: str, known: set[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(sorted(known))}"


def _convert(key: str, value: Any, hint: Any) -> Any:
    try:
        if isinstance(hint, types.GenericAlias):
            items = value.split(",") if isinstance(value, str) else value
            return tuple(LipSyncModel(item.strip()) for item in items)
        if hint is bool:
            return value if isinstance(value, bool) else {"1": True, "true": True, "0": False, "false": False}[value.lower()]
        return hint(value)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{key} cannot be {value!r}; expected {getattr(hint, '__name__', hint)}") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
