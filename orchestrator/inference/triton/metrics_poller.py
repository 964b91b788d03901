"""Poller of Triton's metrics pages, over every address of every server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

import aiohttp
from yarl import URL

from orchestrator.inference.triton.addresses import Resolve, addresses_of, is_name
from orchestrator.inference.triton.server_metrics import (
    ServerMetrics,
    TritonFigures,
    figures_of,
    parse_metrics,
)

logger = logging.getLogger(__name__)

PAGE_TIMEOUT_S: Final = 2.0
"""Time limit for one server's page; a failed read is repeated at the next interval."""

MAX_PAGE_BYTES: Final = 4 << 20
"""Upper bound of a page; a server of a hundred models writes some 200 KB."""


@runtime_checkable
class Accountable(Protocol):
    """An inference whose servers publish metrics."""

    def metrics_urls(self) -> list[str]:
        """Metrics address of each server."""
        ...

    def memory_mb(self) -> dict[str, float]:
        """See `TritonFigures.memory_mb`."""
        ...


class TritonWatch:
    """Reads the metrics of every server at intervals and passes the figures on.

    A server that does not answer is left out of that read.
    """

    def __init__(
        self,
        inference: Accountable,
        urls: Sequence[str],
        publish: Callable[[TritonFigures], None],
        resolve: Resolve = addresses_of,
    ) -> None:
        """Configure the reads.

        `urls` replace those that the inference knows, if there are any; every address of a name in
        them is a server. `publish` receives the figures of each read.
        """
        self._inference = inference
        self._urls = tuple(urls)
        self._publish = publish
        self._resolve = resolve
        self._before: dict[str, ServerMetrics] = {}
        self._silent: set[str] = set()
        self._known_pages: frozenset[str] = frozenset()

    async def run(self, interval_s: float) -> None:
        """Read at intervals until cancelled; raises nothing else."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PAGE_TIMEOUT_S)) as http:
            while True:
                try:
                    await self.look(http)
                # the edge of the task: a failed read must not end the later ones
                except Exception:
                    logger.exception("reading Triton's metrics failed")
                await asyncio.sleep(interval_s)

    async def gpu_used_mb(self) -> float | None:
        """GPU memory in use on the servers in MiB, as measured last; None without GPUs."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PAGE_TIMEOUT_S)) as http:
            return figures_of({}, await self._read_all(http), {}).gpu_used_mb

    async def look(self, http: aiohttp.ClientSession) -> None:
        """Read all servers once."""
        now = await self._read_all(http)
        memory_mb = await asyncio.to_thread(self._inference.memory_mb)
        figures = figures_of(self._before, now, memory_mb)
        self._before = {
            url: metrics
            for url, metrics in {**self._before, **now}.items()
            if url in self._known_pages
        }
        if now or memory_mb:
            self._publish(figures)

    async def _read_all(self, http: aiohttp.ClientSession) -> dict[str, ServerMetrics]:
        """Metrics of every server that answers, by its address."""
        pages = await self._pages()
        self._known_pages = frozenset(pages)
        self._silent &= self._known_pages
        metrics_by_url = await asyncio.gather(
            *(self._read(http, url, host) for url, host in pages.items())
        )
        return {
            url: metrics
            for url, metrics in zip(pages, metrics_by_url, strict=True)
            if metrics is not None
        }

    async def _pages(self) -> dict[str, str]:
        """Addresses of the pages to read, each with its Host header."""
        if not self._urls:
            return {url: URL(url).authority for url in self._inference.metrics_urls()}
        found = await asyncio.gather(*map(self._pages_behind, self._urls))
        return {
            page: URL(url).authority
            for url, pages in zip(self._urls, found, strict=True)
            for page in pages
        }

    async def _pages_behind(self, url: str) -> list[str]:
        """One page address for each address of the host.

        A name that does not resolve now is read by itself, as is one whose certificate counts
        (https).
        """
        host = URL(url).host
        if host is None or URL(url).scheme != "http" or not is_name(host):
            return [url]
        try:
            async with asyncio.timeout(PAGE_TIMEOUT_S):
                return [str(URL(url).with_host(address)) for address in await self._resolve(host)]
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            return [url]

    async def _read(self, http: aiohttp.ClientSession, url: str, host: str) -> ServerMetrics | None:
        try:
            async with http.get(url, headers={"Host": host}) as response:
                response.raise_for_status()
                page = await _whole(response.content)
            metrics = await asyncio.to_thread(parse_metrics, page.decode())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if url not in self._silent:
                logger.info("no metrics of Triton at %s (%s)", url, error or type(error).__name__)
            self._silent.add(url)
            return None
        self._silent.discard(url)
        return metrics


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """Read a body to its end, however many pieces it arrives in.

    Raises ValueError where it has more than `MAX_PAGE_BYTES`.
    """
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > MAX_PAGE_BYTES:
            raise ValueError(f"the page is longer than {MAX_PAGE_BYTES} bytes")
    return bytes(body)
