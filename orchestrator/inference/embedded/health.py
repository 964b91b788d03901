"""State of the embedded server for `/v1/health` and `lipsync doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TritonState(StrEnum):
    """State of the supervisor and its server."""

    STARTING = "starting"
    RUNNING = "running"
    HEALING = "healing"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class TritonHealth:
    """For `/v1/health` and `lipsync doctor`."""

    state: TritonState
    url: str
    metrics_url: str
    pid: int | None
    restarts: int
    models: dict[str, str]
    """Each model with the reason why it is not ready; empty if it is."""
    last_fault: str
    log_tail: str
