"""What a session needs of the client's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from orchestrator.client.errors import LipSyncClientError

if TYPE_CHECKING:
    from orchestrator.client.session import ClientSession


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

    def carry(self, session: ClientSession) -> None:
        """Pass on to this session what the service says to it; one that begins while the connection is away is told so."""
        ...

    def drop(self, session: ClientSession) -> None:
        """Pass nothing more on to it."""
        ...

    async def send(self, message: str | bytes) -> bool:
        """Send now; False when there is no connection at the moment."""
        ...

    async def call_again(self) -> None:
        """Give this connection up for another one."""
        ...
