"""A Triton that another process of this service supervises: what is known of it arrives over a pipe, what is met goes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.embedded import EmbeddedTriton
from orchestrator.inference.identity import Stamp
from orchestrator.inference.process import memory_mb, stubs_below


@dataclass(frozen=True, slots=True)
class ServerState:
    """What the supervisor knows, as it travels."""

    url: str = "127.0.0.1:9"
    metrics_url: str = ""
    life: int = 0
    pid: int | None = None
    ready: Mapping[str, Stamp | None] = field(default_factory=dict)
    """Models that answer, each with what its files looked like when they were loaded."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a request met, as it travels."""

    model: str
    code: LipSyncErrorCode
    message: str


def state_of(server: EmbeddedTriton) -> ServerState:
    """A snapshot; no request."""
    health = server.health()
    ready = {model: server.loaded_from(model) for model in health.models if server.has_ready(model)}
    return ServerState(server.url, server.metrics_url, server.life, health.pid, ready)


class SharedServer:
    """The `Server` of a process that only uses it."""

    def __init__(self, tell: Callable[[Failure], None]) -> None:
        """`tell` takes failures to the supervisor."""
        self.state = ServerState()
        self._tell = tell

    @property
    def url(self) -> str:
        """gRPC address."""
        return self.state.url

    @property
    def metrics_url(self) -> str:
        """Of the server's own metrics."""
        return self.state.metrics_url

    @property
    def life(self) -> int:
        """Grows with each restart."""
        return self.state.life

    def has_ready(self, model: str) -> bool:
        """As the supervisor last said."""
        return model in self.state.ready

    def loaded_from(self, model: str) -> Stamp | None:
        """What the model's files looked like when the server read them."""
        return self.state.ready.get(model)

    def memory_mb(self) -> dict[str, float]:
        """What the backend processes of each model hold."""
        return {} if self.state.pid is None else memory_mb(stubs_below(self.state.pid))

    def report_failure(self, model: str, error: InferenceError) -> None:
        """For the supervisor to look into."""
        self._tell(Failure(model, error.code, error.message))
