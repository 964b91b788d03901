"""Servers of `triton_url`: addresses as given, and every current address of each name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from orchestrator.inference.model_contract import Repository
from orchestrator.inference.triton.addresses import Resolve, is_name, joined, split_url
from orchestrator.inference.triton.connection import proxy_of
from orchestrator.inference.triton.external_server import ExternalServer

logger = logging.getLogger(__name__)

LOOKUP_INTERVAL_S: Final = 2.0
"""Interval of lookups; headless services of Kubernetes and Compose change within seconds."""

LOOKUP_TIMEOUT_S: Final = 5.0
"""Time for one lookup: the resolver's own timeout for one query (`man resolv.conf`)."""


class Discovery:
    """Keeps one `ExternalServer` for each address that the resolver returns.

    A failed lookup changes nothing: the polls detect servers that are gone. A name that is reached
    through a proxy is left to the proxy, as one server.
    """

    def __init__(
        self,
        urls: Sequence[str],
        repository: Repository,
        resolve: Resolve,
        retire: Callable[[ExternalServer], None],
    ) -> None:
        """Configure the lookups; they begin with `start`.

        `retire` receives servers that are no longer resolved, before their polls end.
        """
        self._repository, self._resolve, self._retire = repository, resolve, retire
        self._names: dict[str, frozenset[str]] = {
            url: frozenset() for url in urls if is_name(split_url(url)[0]) and not proxy_of(url)
        }
        self._fixed = [url for url in dict.fromkeys(urls) if url not in self._names]
        self._servers = {url: ExternalServer(url, repository) for url in self._fixed}
        self._unresolved: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def servers(self) -> list[ExternalServer]:
        """Servers of the last lookups, each address once."""
        return list(self._servers.values())

    @property
    def unresolved(self) -> list[str]:
        """Names without any address so far."""
        return [name for name, addresses in self._names.items() if not addresses]

    async def start(self) -> None:
        """Look up once, so that the first chunk finds a state; then follow the names."""
        await asyncio.gather(
            *(server.start() for server in self.servers), *map(self._look, self._names)
        )
        self._tasks = [
            asyncio.create_task(self._follow(name), name=f"resolve {name}") for name in self._names
        ]

    async def stop(self) -> None:
        """End the lookups and the polls."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(server.stop() for server in self.servers))

    async def _follow(self, name: str) -> None:
        while True:
            await asyncio.sleep(LOOKUP_INTERVAL_S)
            await self._look(name)

    async def _look(self, name: str) -> None:
        host, port = split_url(name)
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                found = await self._resolve(host)
        except (OSError, UnicodeError) as error:
            self._warn(name, str(error) or f"no answer in {LOOKUP_TIMEOUT_S:g} s")
            return
        self._unresolved.discard(name)
        self._names[name] = frozenset(joined(address, port) for address in found)
        await self._update(name)

    async def _update(self, name: str) -> None:
        """Add new servers before removing old ones, so that one is always ready."""
        new = {
            url: ExternalServer(url, self._repository, name=name)
            for url in sorted(self._wanted() - self._servers.keys())
        }
        self._servers |= new
        await asyncio.gather(*(server.start() for server in new.values()))
        gone = [self._servers.pop(url) for url in self._dispensable()]
        for server in gone:
            logger.info("Triton at %s is no longer an address of %s", server.url, server.name)
            self._retire(server)
        await asyncio.gather(*(server.stop() for server in gone))

    def _dispensable(self) -> set[str]:
        """Addresses to remove: those that no name resolves to any more.

        While no resolved server is ready, ready ones among them stay.
        """
        wanted = self._wanted()
        replaced = any(self._servers[url].has_any_ready for url in wanted)
        return {
            url
            for url, server in self._servers.items()
            if url not in wanted and (replaced or not server.has_any_ready)
        }

    def _wanted(self) -> set[str]:
        return set(self._fixed).union(*self._names.values())

    def _warn(self, name: str, reason: str) -> None:
        """Log a failed lookup once, until the next successful one."""
        if name not in self._unresolved:
            known = "; its last addresses are used" if self._names[name] else ""
            logger.warning(
                "triton_url: %s does not resolve (%s); retrying every %g s%s",
                name,
                reason,
                LOOKUP_INTERVAL_S,
                known,
            )
        self._unresolved.add(name)
