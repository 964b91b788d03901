"""Load of Triton servers from their metrics: queue waits, batch sizes, GPU use.

Triton counts since its start; the figures are differences between two reads. Names and units are
those of Triton's metrics page (`nv_inference_*` in microseconds and items, `nv_gpu_*` as shares and
bytes).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, Protocol, runtime_checkable

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from orchestrator.inference.triton.addresses import Resolve, addresses_of, is_name

LOG = logging.getLogger(__name__)

DEADLINE_S: Final = 2.0
"""Time limit for one server's page; a failed read is repeated at the next interval."""

MAX_BYTES: Final = 4 << 20
"""Upper bound of a page; a server of a hundred models writes some 200 KB."""

COUNTERS: Final = {
    "nv_inference_request_success_total": "requests",
    "nv_inference_request_success": "requests",
    "nv_inference_request_failure_total": "failures",
    "nv_inference_request_failure": "failures",
    "nv_inference_count_total": "items",
    "nv_inference_count": "items",
    "nv_inference_exec_count_total": "executions",
    "nv_inference_exec_count": "executions",
    "nv_inference_queue_duration_us_total": "queue_us",
    "nv_inference_queue_duration_us": "queue_us",
}
"""Fields by counter; Triton writes counters without `_total`, which the parser may add."""


@dataclass(slots=True)
class Counts:
    """Counters of one model, since the server's start or over an interval."""

    requests: float = 0.0
    failures: float = 0.0
    items: float = 0.0
    executions: float = 0.0
    queue_us: float = 0.0

    def since(self, before: Counts) -> Counts:
        """The difference; all of it where a counter fell, since the server was restarted then."""
        if any(getattr(self, each.name) < getattr(before, each.name) for each in fields(Counts)):
            return self
        return Counts(
            *(getattr(self, each.name) - getattr(before, each.name) for each in fields(Counts))
        )


@dataclass(slots=True)
class Gpu:
    """One GPU of a server."""

    utilization: float | None = None
    """0..1."""
    used_bytes: float = 0.0
    total_bytes: float = 0.0


@dataclass(slots=True)
class Account:
    """Metrics of one server at one time."""

    models: dict[str, Counts] = field(default_factory=dict)
    gpus: dict[str, Gpu] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """Load of one Triton model since the last read, over all servers."""

    queue_ms: float
    """Mean wait of a request before its execution began."""
    batch_size: float
    """Mean items of one execution."""
    requests: int
    failures: int


@dataclass(frozen=True, slots=True)
class TritonFigures:
    """One read of all servers."""

    models: Mapping[str, ModelLoad] = field(default_factory=dict)
    """Models that executed something since the last read."""
    gpu_utilization: float | None = None
    """0..1, the mean of all GPUs; None where no server reports one."""
    gpu_used_mb: float | None = None
    gpu_total_mb: float | None = None
    memory_mb: Mapping[str, float] = field(default_factory=dict)
    """Private memory of each model's backend processes, for an embedded server on this machine."""

    @property
    def has_gpu(self) -> bool:
        """True if any server reports a GPU."""
        return bool(self.gpu_total_mb)


@runtime_checkable
class Accountable(Protocol):
    """An inference whose servers publish metrics."""

    def metrics_urls(self) -> list[str]:
        """Metrics address of each server."""
        ...

    def memory_mb(self) -> dict[str, float]:
        """See `TritonFigures.memory_mb`."""
        ...


def account_of(text: str) -> Account:
    """Parse the text exposition format; ValueError where it is another format."""
    account = Account()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            counter = COUNTERS.get(sample.name)
            if (
                counter is not None and "model" in sample.labels
            ):  # one sample for each version, and for each reason of failure
                counts = account.models.setdefault(sample.labels["model"], Counts())
                setattr(counts, counter, getattr(counts, counter) + sample.value)
            elif sample.name.startswith("nv_gpu_"):
                _note_gpu(
                    account.gpus.setdefault(sample.labels.get("gpu_uuid", ""), Gpu()),
                    sample.name,
                    sample.value,
                )
    return account


def _note_gpu(gpu: Gpu, name: str, value: float) -> None:
    if name == "nv_gpu_utilization":
        gpu.utilization = value
    elif name == "nv_gpu_memory_used_bytes":
        gpu.used_bytes = value
    elif name == "nv_gpu_memory_total_bytes":
        gpu.total_bytes = value


def figures_of(
    before: Mapping[str, Account], now: Mapping[str, Account], memory_mb: Mapping[str, float]
) -> TritonFigures:
    """Figures from two reads of several servers, each by its address."""
    spent: dict[str, list[Counts]] = {}
    for url, account in now.items():
        earlier = (
            before[url].models if url in before else account.models
        )  # nothing is known of the time before the first read
        for model, counts in account.models.items():
            spent.setdefault(model, []).append(counts.since(earlier.get(model, Counts())))
    gpus = {
        uuid: gpu
        for account in now.values()
        for uuid, gpu in account.gpus.items()
        if gpu.total_bytes
    }
    shares = [gpu.utilization for gpu in gpus.values() if gpu.utilization is not None]
    return TritonFigures(
        models={model: load for model, each in spent.items() if (load := _load(each)) is not None},
        gpu_utilization=sum(shares) / len(shares) if shares else None,
        gpu_used_mb=_megabytes(gpu.used_bytes for gpu in gpus.values()) if gpus else None,
        gpu_total_mb=_megabytes(gpu.total_bytes for gpu in gpus.values()) if gpus else None,
        memory_mb=dict(memory_mb),
    )


def _megabytes(sizes: Iterable[float]) -> float:
    return sum(sizes) / 2**20


def _load(servers: Sequence[Counts]) -> ModelLoad | None:
    requests = sum(each.requests for each in servers)
    failures = sum(each.failures for each in servers)
    executions = sum(each.executions for each in servers)
    if not (requests or failures):
        return None
    return ModelLoad(
        queue_ms=sum(each.queue_us for each in servers) / max(requests, 1.0) / 1000.0,
        batch_size=sum(each.items for each in servers) / executions if executions else 0.0,
        requests=round(requests),
        failures=round(failures),
    )


class TritonWatch:
    """Reads the metrics of every server at intervals and passes the figures on.

    A server that does not answer is left out of that read.
    """

    def __init__(
        self,
        inference: Accountable,
        urls: Sequence[str],
        tell: Callable[[TritonFigures], None],
        resolve: Resolve = addresses_of,
    ) -> None:
        """Configure the reads.

        `urls` replace those that the inference knows, if there are any; every address of a name in
        them is a server. `tell` receives the figures of each read.
        """
        self._inference = inference
        self._urls = tuple(urls)
        self._tell = tell
        self._resolve = resolve
        self._before: dict[str, Account] = {}
        self._silent: set[str] = set()
        self._asked: frozenset[str] = frozenset()

    async def run(self, interval_s: float) -> None:
        """Read at intervals until cancelled; raises nothing else."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(DEADLINE_S)) as http:
            while True:
                try:
                    await self.look(http)
                # the edge of the task: a failed read must not end the later ones
                except Exception:
                    LOG.exception("looking at Triton's metrics failed")
                await asyncio.sleep(interval_s)

    async def gpu_used_mb(self) -> float | None:
        """GPU memory in use on the servers in MiB, as measured last; None without GPUs."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(DEADLINE_S)) as http:
            return figures_of({}, await self._accounts(http), {}).gpu_used_mb

    async def look(self, http: aiohttp.ClientSession) -> None:
        """Read all servers once."""
        now = await self._accounts(http)
        memory_mb = await asyncio.to_thread(self._inference.memory_mb)
        figures = figures_of(self._before, now, memory_mb)
        self._before = {
            url: account for url, account in {**self._before, **now}.items() if url in self._asked
        }
        if now or memory_mb:
            self._tell(figures)

    async def _accounts(self, http: aiohttp.ClientSession) -> dict[str, Account]:
        """Metrics of every server that answers, by its address."""
        pages = await self._pages()
        self._asked = frozenset(pages)
        self._silent &= self._asked
        accounts = await asyncio.gather(
            *(self._account(http, url, host) for url, host in pages.items())
        )
        return {
            url: account
            for url, account in zip(pages, accounts, strict=True)
            if account is not None
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
            async with asyncio.timeout(DEADLINE_S):
                return [str(URL(url).with_host(address)) for address in await self._resolve(host)]
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            return [url]

    async def _account(self, http: aiohttp.ClientSession, url: str, host: str) -> Account | None:
        try:
            async with http.get(url, headers={"Host": host}) as response:
                response.raise_for_status()
                page = await _whole(response.content)
            account = await asyncio.to_thread(account_of, page.decode())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if url not in self._silent:
                LOG.info("no metrics of Triton at %s (%s)", url, error or type(error).__name__)
            self._silent.add(url)
            return None
        self._silent.discard(url)
        return account


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """Read a body to its end, however many pieces it arrives in.

    Raises ValueError where it has more than `MAX_BYTES`.
    """
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > MAX_BYTES:
            raise ValueError(f"the page is longer than {MAX_BYTES} bytes")
    return bytes(body)
