"""Connections to servers with the requests under way on each: round robin bounded by outstanding
requests, and graceful removal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from orchestrator.inference.triton.connection import Connection

SLACK: Final = 4
"""Requests. Measured over three servers on two cores: 16 clients in real time give each a third to
1 % (to 6 % without slack); in saturation to 5 % (without slack to 9 %), and a server at niceness 19
gets 8 to 30 % less than the others.
"""


class Reachable(Protocol):
    """What a connection needs to know of a server."""

    @property
    def life(self) -> int:
        """Grows when the server was restarted: its connections are void."""
        ...


ServerT = TypeVar("ServerT", bound=Reachable)


@dataclass(slots=True, eq=False)
class Link:
    """One connection and its use."""

    connection: Connection
    life: int
    busy: int = 0
    """Requests under way."""
    last_asked: dict[str, int] = field(default_factory=dict)
    """Number of the last request by model, in the order of all requests."""


class Links:
    """One connection for each server that was asked."""

    def __init__(self, connect: Callable[[ServerT], Connection]) -> None:
        self._connect: Callable[..., Connection] = connect
        self._links: dict[Reachable, Link] = {}
        self._retired: set[Link] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._asked = 0

    def next_of(self, model: str, servers: Sequence[ServerT]) -> ServerT:
        """The server not asked for `model` for the longest, among those with at most `SLACK` more
        requests under way than the idlest.

        In turns for each model, since a chunk's requests alternate between models.
        """
        links = [(server, self._links.get(server)) for server in servers]
        most = SLACK + min(0 if link is None else link.busy for _, link in links)
        among = [
            (0 if link is None else link.last_asked.get(model, 0), server)
            for server, link in links
            if link is None or link.busy <= most
        ]
        return min(among, key=lambda each: each[0])[1]

    @asynccontextmanager
    async def asking(self, model: str, server: Reachable) -> AsyncIterator[Connection]:
        """The server's connection for the length of one request."""
        link = await self._link(server)
        self._asked += 1
        link.last_asked[model] = self._asked
        link.busy += 1
        try:
            yield link.connection
        finally:
            link.busy -= 1
            if link in self._retired and not link.busy:
                self._close(link)

    async def _link(self, server: Reachable) -> Link:
        link = self._links.get(server)
        if link is not None and link.life == server.life:
            return link
        new = self._links[server] = Link(self._connect(server), server.life)
        if link is not None:
            await link.connection.close()
        return new

    def retire(self, server: Reachable) -> None:
        """Close the server's connection once its last request has ended."""
        link = self._links.pop(server, None)
        if link is not None:
            self._retired.add(link)
            if not link.busy:
                self._close(link)

    def _close(self, link: Link) -> None:
        self._retired.discard(link)
        task = asyncio.create_task(link.connection.close(), name="close a connection to triton")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """End every connection, and what is under way on it."""
        links = [*self._links.values(), *self._retired]
        self._links.clear()
        self._retired.clear()
        await asyncio.gather(*(link.connection.close() for link in links), *self._closing)
