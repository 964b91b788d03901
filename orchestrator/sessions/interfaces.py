"""Interfaces of the live sessions to their surroundings: connection and service."""

from __future__ import annotations

from typing import Protocol

from orchestrator import protocol
from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError
from orchestrator.core.metrics import Metrics
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.video.streamer import VideoStreamingService


class MessageSink(Protocol):
    """Connection to the client that carries a session's messages."""

    async def send(self, message: protocol.ServerMessage) -> None:
        """Send a message; ConnectionError when the client is gone or reads nothing for too long."""
        ...

    async def send_error(self, error: LipSyncError, session_id: str | None) -> None:
        """Send an error and count it; raises as `send`."""
        ...

    def cut_turn(self, session_id: str, turn_id: str) -> None:
        """Ignore the rest of this turn's audio: the session's time was over within the turn, and
        the audio must not open another session.
        """
        ...

    async def responds(self) -> bool:
        """True if the client answers a ping."""
        ...

    def abort(self) -> None:
        """Cut the connection without a close frame."""
        ...


class SessionEnvironment(Protocol):
    """Parts of the service that sessions need; `LipSyncService` has them."""

    @property
    def instance(self) -> str:
        """Identifies this process among those of the service."""
        ...

    @property
    def config(self) -> ServiceConfig:
        """Configuration of the service."""
        ...

    @property
    def metrics(self) -> Metrics:
        """Metrics of the service."""
        ...

    @property
    def pipeline(self) -> FramePipeline:
        """The frame loop; there once the service is open."""
        ...

    @property
    def streaming(self) -> VideoStreamingService:
        """Encoding and adaptation; there once the service is open."""
        ...
