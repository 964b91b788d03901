"""Configuration record: every setting with its default, unit, range and purpose.

`config_loading` merges the layers (defaults, file, environment, flags) into it.
"""

from __future__ import annotations

import functools
import ipaddress
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta

from orchestrator.core.config_fields import accepted, addresses, origin, rule, users_of_tokens
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import LipSyncModel

SECRETS: Final = ("auth_tokens", "auth_jwt_key")
"""Never printed."""

SECRET_TABLE: Final = "auth_"
"""Prefix of the TOML table that holds the secrets. Never echo an unknown key in it: it may be a
misplaced token.
"""

MAX_BATCH_WINDOW_MS: Final = 100.0
"""A chunk of 100 ms that waits longer meets the next one of its own session."""

Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=1, le=86_400_000)]
MillisecondsOrZero: TypeAlias = Annotated[int, Meta(ge=0, le=86_400_000)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0.001, le=31_536_000)]
"""A thousandth of a second to a year."""
SecondsOrZero: TypeAlias = Annotated[float, Meta(ge=0, le=31_536_000)]
Origin: TypeAlias = Annotated[str, rule(origin, "origins such as https://app.example.com")]
Addresses: TypeAlias = Annotated[
    str, rule(addresses, "host:port, or several as gpu1:8001,gpu2:8001")
]
TokenUsers: TypeAlias = Annotated[
    Mapping[str, str], rule(users_of_tokens, "TOKEN=USER,TOKEN=USER or a table of them")
]


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what to do."""


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """All settings, checked when it is made; raises `ConfigError` that names the key.

    Keys are the same in the file, in the environment (upper case) and as flags.
    """

    host: str = "127.0.0.1"
    """Address to listen on. Any but loopback needs `auth_tokens`, `auth_jwt_key` or `insecure`."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    """TCP port of HTTP and WebSocket; 0 takes a free one."""
    insecure: bool = False
    """Allow listening beyond loopback without authentication."""
    auth_tokens: TokenUsers = field(default_factory=dict, repr=False)
    """Bearer tokens and the user of each. In the file a table `[auth.tokens]`, elsewhere
    `TOKEN=USER,TOKEN=USER`.
    """
    auth_jwt_key: str = field(default="", repr=False)
    """Key that verifies signed tokens: a secret (HS256) or a public key in PEM (RS256). Empty
    accepts no signed token.
    """
    auth_jwt_algorithm: Literal["HS256", "RS256"] = "HS256"
    """Signature algorithm of signed tokens."""
    log_format: Literal["text", "json"] = "text"
    """`text` for people or `json` for programs: one object a line."""
    allowed_origins: tuple[Origin, ...] = ()
    """Origins of other pages, as `https://app.example.com`, whose browsers may connect. The
    service's own page always may.
    """
    storage: Path = Path("storage")
    """Folder of the face models."""
    bucket: str = ""
    """Google Cloud Storage bucket of the face models; replaces `storage`."""
    model_repository: Path = MODEL_REPOSITORY
    """Triton's model repository."""
    triton_url: Addresses = ""
    """gRPC addresses of running Tritons, `host:port,host:port`. Every address that a name resolves
    to is a server. Empty starts the embedded server.
    """
    triton_metrics_url: str = ""
    """Metrics pages of those Tritons, `http://host:port/metrics,...`. Empty reads port 8002 of each
    host.
    """
    default_model: LipSyncModel = LipSyncModel.TPSM
    """Model for clients without a preference. Adaptive selection replaces it by a better one of the
    chain that keeps up.
    """
    fallback_chain: tuple[LipSyncModel, ...] = (
        LipSyncModel.TPSM,
        LipSyncModel.WAV2LIP,
        LipSyncModel.SADTALKER,
        LipSyncModel.STATIC,
    )
    """Order of the models to try when one fails."""
    models: tuple[LipSyncModel, ...] = ()
    """Models to serve, to save memory. Empty serves every model whose networks are present.
    `static` is always served.
    """
    commercial_safe: bool = False
    """Serve only models whose code and weights state a licence that allows commercial use."""
    enable_adaptive_model_selection: bool = True
    """Select the best picture that measured latency, GPU and bandwidth allow. Otherwise the default
    model, then the chain.
    """
    enable_adaptive_bitrate: bool = True
    """Adapt the bitrate to the clients' network reports and to the fill of their queues."""
    max_concurrent_sessions: Count = 100
    """Sessions at once; further ones get SESSION_LIMIT."""
    max_sessions_per_user: Count = 20
    """Sessions of one user at once."""
    capacity_probe: bool = True
    """Measure at the start how many faces this machine generates at once (admission control). While
    as many speak, further sessions get SESSION_LIMIT.
    """
    max_renders: Count = 2
    """Recordings rendered over HTTP at once; further ones get SESSION_LIMIT."""
    max_render_s: Seconds = 300.0
    """Longest recording that is rendered over HTTP, in seconds of sound."""
    render_timeout_s: Seconds = 600.0
    """Time limit of a rendering or a benchmark over HTTP."""
    max_messages_per_s: Count = 400
    """Rate limit: messages a second read from one connection after a burst. More wait in its
    socket.
    """
    resume_ttl_s: SecondsOrZero = 30.0
    """Time for which a session without its connection is kept for a resume."""
    drain_s: SecondsOrZero = 5.0
    """Graceful shutdown: time after SIGTERM or Ctrl+C in which turns and requests in progress may
    end. 0 cuts them at once.
    """
    max_session_s: Seconds = 3600.0
    """Longest session. A warning precedes its end."""
    preload_users: tuple[str, ...] = ()
    """Users whose active faces are loaded and prepared at the start, before their first chunk."""
    face_model_cache_size: Count = 50
    """Face models kept in memory."""
    face_cache_mb: Count = 512
    """Memory for faces and what is derived from them, in MB."""
    audio_feature_cache_ttl: SecondsOrZero = 300.0
    """Seconds for which the features of a chunk are cached by its content."""
    frame_cache_ttl: SecondsOrZero = 60.0
    """Seconds for which generated frames are cached by their content."""
    performance_monitoring_interval: Seconds = 30.0
    """Seconds between two readings of the models' performance and of Triton's metrics."""
    chunk_deadline_ms: Milliseconds = 300
    """Time for a model to generate the frames of one chunk, before the next in the chain does."""
    face_encoding_deadline_ms: Milliseconds = 60_000
    """Time for a model's networks to encode a new face. Sessions use another model meanwhile."""
    inbox_ms: Milliseconds = 30_000
    """Audio that may wait in a session's inbox. Beyond it the oldest chunk becomes silence."""
    outbox_frames: Count = 60
    """Encoded frames that may wait for a slow client. Beyond it the session's work waits
    (backpressure).
    """
    batch_window_ms: Annotated[float, Meta(ge=0, le=MAX_BATCH_WINDOW_MS)] = 25.0
    """Longest time for which a chunk waits for those of other sessions, to form a batch. Few
    sessions never wait.
    """
    pacing_lead_ms: MillisecondsOrZero = 500
    """Lead over real time at which frames may leave when audio arrives in a burst."""
    send_timeout_s: Seconds = 20.0
    """A client that takes no data for this long is disconnected."""

    def __post_init__(self) -> None:
        for name, hint in _hints().items():
            object.__setattr__(self, name, _accepted(name, getattr(self, name), hint))
        if not (self.insecure or self.asks_for_tokens or _is_loopback(self.host)):
            raise ConfigError(
                f"host {self.host!r} is reachable from other machines, and clients are not "
                "authenticated; set auth.tokens or auth.jwt_key, listen on 127.0.0.1, or pass "
                "--insecure to accept that"
            )
        if not self.serves(self.default_model):
            served = ",".join(self.models)
            raise ConfigError(
                f"default_model {self.default_model.value!r} is not among models ({served}); add "
                "it, or name one of them"
            )

    @property
    def asks_for_tokens(self) -> bool:
        """True where clients must authenticate."""
        return bool(self.auth_tokens or self.auth_jwt_key)

    @property
    def triton_urls(self) -> list[str]:
        """The addresses of `triton_url`, one by one."""
        return [url.strip() for url in self.triton_url.split(",") if url.strip()]

    @property
    def triton_metrics_urls(self) -> list[str]:
        """The addresses of `triton_metrics_url`, one by one."""
        return [url.strip() for url in self.triton_metrics_url.split(",") if url.strip()]

    def serves(self, model: LipSyncModel) -> bool:
        """True where `models` admits the model."""
        return not self.models or model in self.models or model is LipSyncModel.STATIC


@functools.cache
def _hints() -> dict[str, Any]:
    return typing.get_type_hints(ServiceConfig, include_extras=True)


def _accepted(name: str, value: Any, hint: Any) -> Any:
    try:
        return accepted(value, hint)
    except ValueError as expected:
        shown = "a table" if isinstance(value, Mapping) else repr(value)
        if name in SECRETS:
            shown = "the given value (a secret, not shown)"
        raise ConfigError(f"{name} cannot be {shown}; expected {expected}") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
