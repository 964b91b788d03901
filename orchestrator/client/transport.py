"""What a session needs of the client's connection."""

from __future__ import annotations

from typing import Protocol

from orchestrator.client.errors import LipSyncClientError
from orchestrator.client.messages import ServerMessage


class Carried(Protocol):
    """A session as its connection sees it."""

    @property
    def id(self) -> str: ...

    def connection_lost(self) -> None:
        """Called when the connection is lost; it is opened again."""
        ...

    def sent_away(self) -> None:
        """Called when the instance closed the connection because it shuts down."""
        ...

    async def connection_back(self) -> None:
        """Called when the connection is open again."""
        ...

    async def take(self, message: ServerMessage) -> None:
        """Called with every message of the service for this session."""
        ...

    async def abandon(self, failure: LipSyncClientError | None) -> None:
        """Called when there will be no connection any more."""
        ...

    async def close(self) -> None:
        """End the session."""
        ...


class Line(Protocol):
    """The way to the service, shared by all sessions of a client."""

    @property
    def is_binary(self) -> bool:
        """Whether audio and pictures travel as bytes."""
        ...

    @property
    def failure(self) -> LipSyncClientError | None:
        """Why there is no connection and will be none; None while there is one, or may be again."""
        ...

    def carry(self, session: Carried) -> None:
        """Pass on to this session what the service says to it; one that begins while the connection
        is away is told so.
        """
        ...

    def drop(self, session: Carried) -> None:
        """Pass nothing more on to it."""
        ...

    async def send(self, message: str | bytes) -> bool:
        """Send now; False when there is no connection at the moment."""
        ...

    async def call_again(self) -> None:
        """Give this connection up for another one."""
        ...
