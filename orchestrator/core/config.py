"""Configuration as data: every setting with its default, its unit and what it is for;
`config_layers` reads them.
"""

from __future__ import annotations

import functools
import ipaddress
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from orchestrator.core.config_fields import Addresses, Between, Origin, accepted
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import LipSyncModel

SECRETS: Final = ("auth_tokens", "auth_jwt_key")
"""Never printed."""

SECRET_TABLE: Final = "auth_"
"""Where they lie in the file: what stands there by mistake may be one of them."""

MOST_BATCH_WINDOW_MS: Final = 100.0
"""A chunk of 100 ms that waits longer meets the next one of its own session."""

Count: TypeAlias = Annotated[int, Between(1, 1_000_000)]
Milliseconds: TypeAlias = Annotated[int, Between(1, 86_400_000)]
Seconds: TypeAlias = Annotated[float, Between(0.001, 31_536_000)]
"""A thousandth to a year."""
SecondsOrNone: TypeAlias = Annotated[float, Between(0, 31_536_000)]


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what to do."""


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """Everything that can be set. Keys are the same in the file, in the environment (upper case)
    and as flags.
    """

    host: str = "127.0.0.1"
    """Address to listen on; another than loopback needs `auth_tokens`, `auth_jwt_key` or
    `insecure`.
    """
    port: Annotated[int, Between(0, 65_535)] = 8080
    """TCP port of HTTP and WebSocket; 0 takes a free one."""
    insecure: bool = False
    """Allow listening beyond loopback although nobody is asked for a token."""
    auth_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Bearer tokens and the user each opens; in the file a table `[auth.tokens]`, elsewhere
    `TOKEN=USER,TOKEN=USER`.
    """
    auth_jwt_key: str = field(default="", repr=False)
    """Secret (HS256) or public key in PEM (RS256) that signed tokens are checked with; empty
    accepts none.
    """
    auth_jwt_algorithm: Literal["HS256", "RS256"] = "HS256"
    """HS256 or RS256."""
    log_format: Literal["text", "json"] = "text"
    """`text` for people or `json` for programs: an object a line."""
    allowed_origins: tuple[Annotated[str, Origin()], ...] = ()
    """Origins of other pages, as `https://app.example.com`, whose browsers may connect; this
    service's own page always may.
    """
    storage: Path = Path("storage")
    """Folder of the face models."""
    bucket: str = ""
    """Google Cloud Storage bucket of the face models; takes the place of `storage`."""
    model_repository: Path = MODEL_REPOSITORY
    """Triton's model repository."""
    triton_url: Annotated[str, Addresses()] = ""
    """gRPC addresses of running Tritons, `host:port,host:port`; every address of a name is a
    server. Empty starts the embedded one.
    """
    triton_metrics_url: str = ""
    """Where those Tritons publish their metrics, `http://host:port/metrics,...`; empty asks port
    8002 of each host.
    """
    default_model: LipSyncModel = LipSyncModel.TPSM
    """Model used when the client has no preference; with adaptive selection a better one of the
    chain that keeps up takes its place.
    """
    fallback_chain: tuple[LipSyncModel, ...] = (
        LipSyncModel.TPSM,
        LipSyncModel.WAV2LIP,
        LipSyncModel.SADTALKER,
        LipSyncModel.STATIC,
    )
    """Tried in this order when a model fails."""
    models: tuple[LipSyncModel, ...] = ()
    """Models to serve, where not all shall take memory; empty serves every one whose networks are
    there. `static` is always served.
    """
    commercial_safe: bool = False
    """Serve only models whose code and weights allow commercial use; those that state nothing do
    not.
    """
    enable_adaptive_model_selection: bool = True
    """Take the best picture that measured latency, GPU and bandwidth allow; otherwise the default
    and then the chain.
    """
    enable_adaptive_bitrate: bool = True
    """Follow what clients report of their network, and how their queues fill, with the bitrate."""
    max_concurrent_sessions: Count = 100
    """Sessions accepted at once; further ones get SESSION_LIMIT."""
    max_sessions_per_user: Count = 20
    """Of these for one user."""
    capacity_probe: bool = True
    """Measure at the start how many faces this machine draws at once; while as many speak, further
    sessions get SESSION_LIMIT.
    """
    max_renders: Count = 2
    """Recordings rendered over HTTP at once; further ones get SESSION_LIMIT."""
    max_render_s: Seconds = 300.0
    """Longest recording that is rendered over HTTP, in seconds of sound."""
    render_timeout_s: Seconds = 600.0
    """Time that rendering it may take, and that a benchmark over HTTP may take."""
    max_messages_per_s: Count = 400
    """Messages a second that are read of a connection, beyond a burst; more wait in its socket."""
    resume_ttl_s: SecondsOrNone = 30.0
    """How long a session whose connection was lost waits for its client to come back."""
    drain_s: SecondsOrNone = 5.0
    """Time after SIGTERM or Ctrl+C in which turns and requests under way may end; 0 cuts them at
    once.
    """
    max_session_s: Seconds = 3600.0
    """A session is ended after this time, with a warning before."""
    preload_users: tuple[str, ...] = ()
    """Users whose active faces are loaded and prepared at the start, before their first chunk
    comes.
    """
    face_model_cache_size: Count = 50
    """Face models kept in memory."""
    face_cache_mb: Count = 512
    """Memory for faces and what is derived from them."""
    audio_feature_cache_ttl: SecondsOrNone = 300.0
    """Seconds that features of a chunk are remembered by its content."""
    frame_cache_ttl: SecondsOrNone = 60.0
    """Seconds that drawn frames are remembered by what they show."""
    performance_monitoring_interval: Seconds = 30.0
    """Seconds between two looks at the models' performance and at Triton's own metrics."""
    chunk_deadline_ms: Milliseconds = 300
    """Time a model has for the frames of one chunk before the next in the chain takes over."""
    face_encoding_deadline_ms: Milliseconds = 60_000
    """Time a model's networks have to look at a face for the first time; meanwhile sessions speak
    with another model.
    """
    inbox_ms: Milliseconds = 30_000
    """Audio a session may have waiting; beyond it the oldest chunk becomes silence."""
    outbox_frames: Count = 60
    """Encoded frames that may wait for a slow client before the session's work waits too."""
    batch_window_ms: Annotated[float, Between(0, MOST_BATCH_WINDOW_MS)] = 25.0
    """Longest time that a chunk waits for those of other sessions, so that they are drawn as a
    batch; few sessions never wait.
    """
    pacing_lead_ms: Annotated[int, Between(0, 86_400_000)] = 500
    """How far ahead of real time frames may leave when audio arrives in a burst."""
    send_timeout_s: Seconds = 20.0
    """A client that takes no data for this long is disconnected."""

    def __post_init__(self) -> None:
        for name, hint in _hints().items():
            object.__setattr__(self, name, _accepted(name, getattr(self, name), hint))
        if not (self.insecure or self.asks_for_tokens or _is_loopback(self.host)):
            raise ConfigError(
                f"host {self.host!r} is reachable from other machines and this service asks "
                "nobody for a token; set auth.tokens or auth.jwt_key, listen on 127.0.0.1, or "
                "pass --insecure to accept that"
            )
        if not self.serves(self.default_model):
            wanted = ",".join(self.models)
            raise ConfigError(
                f"default_model {self.default_model.value!r} is not among models ({wanted}); add "
                "it, or name one of them"
            )

    @property
    def asks_for_tokens(self) -> bool:
        """Whether clients have to say who they are."""
        return bool(self.auth_tokens or self.auth_jwt_key)

    @property
    def triton_urls(self) -> list[str]:
        """The addresses one by one."""
        return [url.strip() for url in self.triton_url.split(",") if url.strip()]

    @property
    def triton_metrics_urls(self) -> list[str]:
        """The addresses one by one."""
        return [url.strip() for url in self.triton_metrics_url.split(",") if url.strip()]

    def serves(self, model: LipSyncModel) -> bool:
        """Whether `models` lets a model in."""
        return not self.models or model in self.models or model is LipSyncModel.STATIC


@functools.cache
def _hints() -> dict[str, Any]:
    return typing.get_type_hints(ServiceConfig, include_extras=True)


def _accepted(name: str, value: Any, hint: Any) -> Any:
    try:
        return accepted(value, hint)
    except ValueError as expected:
        told = (
            "what was given"
            if name in SECRETS
            else "a table"
            if isinstance(value, Mapping)
            else repr(value)
        )
        raise ConfigError(f"{name} cannot be {told}; expected {expected}") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
