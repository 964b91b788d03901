"""`Inference` over gRPC: picks a server that has the model ready, checks the contract, and sends the request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from orchestrator.errors import LipSyncErrorCode
from orchestrator.inference import ContractError, InferenceError, NotCached, NotServed, Tensors
from orchestrator.inference.connection import Connection, is_loopback
from orchestrator.inference.external import ExternalServer
from orchestrator.inference.identity import NetworkIdentities, Stamp
from orchestrator.inference.lease import Lease
from orchestrator.inference.repository import ModelContract, Repository

LOG = logging.getLogger(__name__)


class Server(Protocol):
    """A Triton that somebody watches: the embedded one's supervisor, or a poller of one that others run."""

    @property
    def url(self) -> str:
        """gRPC address, `host:port`; it may change with `life`."""
        ...

    @property
    def life(self) -> int:
        """Grows when the server was restarted: connections and registrations of earlier lives are void."""
        ...

    def has_ready(self, model: str) -> bool:
        """The state at the last look; no request."""
        ...

    def loaded_from(self, model: str) -> Stamp | None:
        """What the model's files looked like when the server read them; None where that cannot be known."""
        ...

    @property
    def metrics_url(self) -> str:
        """Of its own metrics, `http://host:port/metrics`."""
        ...

    def memory_mb(self) -> dict[str, float]:
        """What the backend processes of each model hold, as far as that can be seen from here."""
        ...

    def report_failure(self, model: str, error: InferenceError) -> None:
        """What a request met; the watcher decides whether to look closer."""
        ...


ELSEWHERE: Final = frozenset({LipSyncErrorCode.MODEL_LOAD_FAILED, LipSyncErrorCode.TIMEOUT, LipSyncErrorCode.GPU_UNAVAILABLE})
"""Failures of one server, which another one may not have."""

FIRST_SHARE: Final = 0.5
"""Of the time there is: what one server gets while another one could still answer."""


@dataclass(slots=True)
class _Link:
    connection: Connection
    life: int


class TritonInference:
    """`Inference` over one or several servers. An async context manager; closes its connections, not the servers.

    `servers` holds addresses (`"host:8001"`), which it then polls itself, or watched servers such as `EmbeddedTriton`.
    `shared_memory=None` shares memory with servers on this host.
    """

    def __init__(self, servers: Sequence[str | Server], repository: Repository, *, shared_memory: bool | None = None) -> None:
        self._polled = [ExternalServer(each, repository) for each in servers if isinstance(each, str)]
        watched: list[Server] = [each for each in servers if not isinstance(each, str)]
        self._servers: list[Server] = [*watched, *self._polled]
        self._repository = repository
        self._shared_memory = shared_memory
        self._links: dict[int, _Link] = {}
        self._lease: Lease | None = None
        self._turn = 0
        self._identities = NetworkIdentities()

    async def __aenter__(self) -> TritonInference:
        for server in self._polled:
            await server.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for server in self._polled:
            await server.stop()
        for link in self._links.values():
            await link.connection.close()
        self._links.clear()
        if self._lease is not None:
            self._lease.release()

    async def ready(self, model: str) -> bool:
        """Whether any server had it ready at the last look."""
        return any(server.has_ready(model) for server in self._servers)

    async def identity(self, model: str) -> str | None:
        """See `Inference.identity`; None also where servers have loaded different files."""
        contract, stamps = self._repository.models.get(model), {server.loaded_from(model) for server in self._servers}
        return None if contract is None or len(stamps) != 1 else await self._identities.of(contract, stamps.pop())

    def metrics_urls(self) -> list[str]:
        """Of every server."""
        return [server.metrics_url for server in self._servers]

    def memory_mb(self) -> dict[str, float]:
        """Of all servers on this machine together, by Triton model."""
        held: dict[str, float] = {}
        for server in self._servers:
            for model, size_mb in server.memory_mb().items():
                held[model] = held.get(model, 0.0) + size_mb
        return held

    async def infer(self, model: str, inputs: Tensors, *, deadline: float) -> dict[str, NDArray[Any]]:
        """See `Inference.infer`."""
        contract, batch = self._checked(model, inputs)
        if contract.steps and not any(server.has_ready(model) for server in self._servers):
            raise NotServed(model)
        tried: set[int] = set()
        while True:
            index = self._pick(model, tried)
            tried.add(index)
            others = [other for other in range(len(self._servers)) if other not in tried and self._servers[other].has_ready(model)]
            now = asyncio.get_running_loop().time()
            until = now + FIRST_SHARE * (deadline - now) if others else deadline
            try:
                connection = await self._connection(index)
                return await connection.infer(contract, inputs, batch, until)
            except NotCached:
                raise
            except InferenceError as error:
                self._servers[index].report_failure(model, error)
                if not others or error.code not in ELSEWHERE:
                    raise

    async def infer_everywhere(self, model: str, inputs: Tensors, *, deadline: float) -> int:
        """See `Inference.infer_everywhere`."""
        contract, batch = self._checked(model, inputs)

        async def ask(index: int) -> bool:
            try:
                await (await self._connection(index)).infer(contract, inputs, batch, deadline)
            except InferenceError as error:
                LOG.warning("%s: a request ahead of its use failed at %s: %s", model, self._servers[index].url, error.message)
                return False
            return True

        ready = [index for index, server in enumerate(self._servers) if server.has_ready(model)]
        return sum(await asyncio.gather(*map(ask, ready)))

    def _checked(self, model: str, inputs: Tensors) -> tuple[ModelContract, int]:
        contract = self._repository.models.get(model)
        if contract is None:
            raise NotServed(model)
        try:
            return contract, contract.check(inputs)
        except ContractError as error:
            LOG.exception("an adapter broke the contract of %s", model)
            raise InferenceError(LipSyncErrorCode.VIDEO_GENERATION_FAILED, str(error), model=model) from error

    def _pick(self, model: str, tried: Collection[int]) -> int:
        """The next server in turn that has the model ready; the next at all if none has, so that the error is the server's own."""
        count = len(self._servers)
        order = [(self._turn + step) % count for step in range(count) if (self._turn + step) % count not in tried]
        index = next((each for each in order if self._servers[each].has_ready(model)), order[0])
        self._turn = index + 1
        return index

    async def _connection(self, index: int) -> Connection:
        server = self._servers[index]
        link = self._links.get(index)
        if link is None or link.life != server.life:
            shared = is_loopback(server.url) if self._shared_memory is None else self._shared_memory
            self._links[index] = _Link(Connection(server.url, shm_prefix=self._shm_prefix() if shared else ""), server.life)
            if link is not None:
                await link.connection.close()
        return self._links[index].connection

    def _shm_prefix(self) -> str:
        """Empty on systems without POSIX shared memory in a folder."""
        if self._lease is None:
            try:
                self._lease = Lease()
            except OSError:
                return ""
        return self._lease.prefix
