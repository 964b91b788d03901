"""Interfaces between a client's connection and the sessions that share it."""

from __future__ import annotations

from typing import Protocol

from orchestrator.client.errors import LipSyncClientError
from orchestrator.client.messages import ServerMessage


class AttachedSession(Protocol):
    """Interface of a session that its connection calls."""

    @property
    def id(self) -> str: ...

    def connection_lost(self) -> None:
        """Handle the loss of the connection; the client opens another one."""
        ...

    def server_draining(self) -> None:
        """Handle a connection that the instance closed because it shuts down."""
        ...

    async def connection_restored(self) -> None:
        """Resume the session on the new connection."""
        ...

    async def receive(self, message: ServerMessage) -> None:
        """Handle one message of the service for this session."""
        ...

    async def abandon(self, failure: LipSyncClientError | None) -> None:
        """End every turn; the client has given up connecting."""
        ...

    async def close(self) -> None:
        """End the session."""
        ...


class Transport(Protocol):
    """Interface of the connection that all sessions of a client share."""

    @property
    def is_binary(self) -> bool:
        """True when audio and pictures travel as bytes, false when they travel as base64."""
        ...

    @property
    def failure(self) -> LipSyncClientError | None:
        """Reason why the connection is gone for good; None while it is open or is reopened."""
        ...

    def attach(self, session: AttachedSession) -> None:
        """Route the service's messages to this session.

        While the connection is lost, the session's `connection_lost` is called at once.
        """
        ...

    def detach(self, session: AttachedSession) -> None:
        """Stop routing messages to this session."""
        ...

    async def send(self, message: str | bytes) -> bool:
        """Send a message now; return False while there is no connection."""
        ...

    async def reconnect(self) -> None:
        """Close this connection, so that the client opens another one."""
        ...
