"""`Inference` over gRPC: pick a ready server, check the contract, send the request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Any, Final, Protocol

from grpc import StatusCode
from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import ContractError, InferenceError, NotCached, NotServed, Tensors
from orchestrator.inference.embedded.run_lock import RunLock
from orchestrator.inference.model_contract import ModelContract, Repository
from orchestrator.inference.model_fingerprint import NetworkIdentities, Stamp
from orchestrator.inference.triton.addresses import Resolve, addresses_of
from orchestrator.inference.triton.connection import Connection, is_loopback
from orchestrator.inference.triton.discovery import Discovery
from orchestrator.inference.triton.external_server import ExternalServer
from orchestrator.inference.triton.links import Links
from orchestrator.inference.triton.status_codes import error_of

logger = logging.getLogger(__name__)


class Server(Protocol):
    """A supervised Triton: the embedded one, or an external one behind a poller."""

    @property
    def url(self) -> str:
        """gRPC address, `host:port`; it may change with `life`."""
        ...

    @property
    def life(self) -> int:
        """Number of restarts; connections and registrations of earlier lives are void."""
        ...

    def has_ready(self, model: str) -> bool:
        """True if the model was ready at the last poll; sends no request."""
        ...

    def loaded_from(self, model: str) -> Stamp | None:
        """Stamp of the model's files when the server read them; None where unknown."""
        ...

    @property
    def metrics_url(self) -> str:
        """Address of the server's own metrics, `http://host:port/metrics`."""
        ...

    def memory_mb(self) -> dict[str, float]:
        """Memory of each model's backend processes in MiB, as far as it is visible from here."""
        ...

    def report_failure(self, model: str, error: InferenceError) -> None:
        """Report a failed request; the supervisor or poller decides whether to verify it."""
        ...


RETRY_ELSEWHERE_CODES: Final = frozenset(
    {LipSyncErrorCode.MODEL_LOAD_FAILED, LipSyncErrorCode.TIMEOUT, LipSyncErrorCode.GPU_UNAVAILABLE}
)
"""Error codes that concern one server only: the request may succeed on another one."""

FIRST_SERVER_SHARE: Final = 0.5
"""Share of the remaining time for one server while another one could still answer."""


class TritonInference:
    """`Inference` over one or several servers; an async context manager.

    It closes its connections, not the servers. `servers` holds addresses and names (`"host:8001"`),
    whose servers it then polls itself, or supervised servers such as `EmbeddedTriton`.
    `shared_memory=None` shares memory with servers on this host.
    """

    def __init__(
        self,
        servers: Sequence[str | Server],
        repository: Repository,
        *,
        shared_memory: bool | None = None,
        resolve: Resolve = addresses_of,
    ) -> None:
        self._links = Links(self._connect)
        self._watched: list[Server] = [each for each in servers if not isinstance(each, str)]
        self._discovery = Discovery(
            [each for each in servers if isinstance(each, str)],
            repository,
            resolve,
            self._links.retire,
        )
        self._repository = repository
        self._shared_memory = shared_memory
        self._run_lock: RunLock | None = None
        self._without_maps: dict[str, Server] = {}
        """Server by model that answered `NotCached`, until the next request for the model.

        That request may bring the maps.
        """
        self._identities = NetworkIdentities()

    async def __aenter__(self) -> TritonInference:
        await self._discovery.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._discovery.stop()
        await self._links.close()
        if self._run_lock is not None:
            self._run_lock.release()

    @property
    def _servers(self) -> list[Server]:
        """The servers known now."""
        return [*self._watched, *self._discovery.servers]

    async def ready(self, model: str) -> bool:
        """True if any server had the model ready at the last poll."""
        return any(server.has_ready(model) for server in self._servers)

    async def identity(self, model: str) -> str | None:
        """See `Inference.identity`; None also where servers have loaded different files."""
        contract, stamps = (
            self._repository.models.get(model),
            {server.loaded_from(model) for server in self._servers},
        )
        return (
            None
            if contract is None or len(stamps) != 1
            else await self._identities.of(contract, stamps.pop())
        )

    def metrics_urls(self) -> list[str]:
        """Metrics addresses of every server."""
        return [server.metrics_url for server in self._servers]

    def memory_mb(self) -> dict[str, float]:
        """Memory of all servers on this machine together in MiB, by Triton model."""
        held: dict[str, float] = {}
        for server in self._servers:
            for model, size_mb in server.memory_mb().items():
                held[model] = held.get(model, 0.0) + size_mb
        return held

    async def infer(
        self, model: str, inputs: Tensors, *, deadline: float
    ) -> dict[str, NDArray[Any]]:
        """See `Inference.infer`."""
        contract, batch = self._checked(model, inputs)
        if contract.steps and not await self.ready(model):
            raise NotServed(model)
        tried: set[Server] = set()
        while True:
            server = self._pick(model, tried)
            tried.add(server)
            others = self._others(model, tried)
            now = asyncio.get_running_loop().time()
            until = now + FIRST_SERVER_SHARE * (deadline - now) if others else deadline
            try:
                async with self._links.connection_of(model, server) as connection:
                    return await connection.infer(contract, inputs, batch, until)
            except NotCached:
                self._without_maps |= dict.fromkeys((model, *contract.steps), server)
                raise
            except InferenceError as error:
                server.report_failure(model, error)
                if error.code not in RETRY_ELSEWHERE_CODES or not (
                    others and self._others(model, tried)
                ):
                    raise

    async def infer_everywhere(self, model: str, inputs: Tensors, *, deadline: float) -> int:
        """See `Inference.infer_everywhere`."""
        contract, batch = self._checked(model, inputs)

        async def ask(server: Server) -> bool:
            try:
                async with self._links.connection_of(model, server) as connection:
                    await connection.infer(contract, inputs, batch, deadline)
            except InferenceError as error:
                logger.warning(
                    "%s: sending to every server failed at %s: %s",
                    model,
                    server.url,
                    error.message,
                )
                return False
            return True

        return sum(await asyncio.gather(*map(ask, self._others(model, ()))))

    def _checked(self, model: str, inputs: Tensors) -> tuple[ModelContract, int]:
        contract = self._repository.models.get(model)
        if contract is None:
            raise NotServed(model)
        try:
            return contract, contract.check(inputs)
        except ContractError as error:
            logger.exception("an adapter broke the contract of %s", model)
            raise InferenceError(
                LipSyncErrorCode.VIDEO_GENERATION_FAILED, str(error), model=model
            ) from error

    def _others(self, model: str, tried: Collection[Server]) -> list[Server]:
        """Servers that have the model ready and were not tried yet."""
        return [
            server for server in self._servers if server not in tried and server.has_ready(model)
        ]

    def _pick(self, model: str, tried: Collection[Server]) -> Server:
        """Pick a server that has the model ready.

        If none has, any untried one, so that the error comes from a server.
        """
        among = self._others(model, tried) or [
            server for server in self._servers if server not in tried
        ]
        if not among:
            raise error_of(
                model,
                StatusCode.UNAVAILABLE,
                f"no address yet for {', '.join(self._discovery.unresolved)}",
            )
        uninformed = self._without_maps.pop(model, None)
        return uninformed if uninformed in among else self._links.next_of(model, among)

    def _connect(self, server: Server) -> Connection:
        shared = is_loopback(server.url) if self._shared_memory is None else self._shared_memory
        name = server.name if isinstance(server, ExternalServer) else ""
        return Connection(server.url, shm_prefix=self._shm_prefix() if shared else "", name=name)

    def _shm_prefix(self) -> str:
        """Prefix of segment names; empty on systems without POSIX shared memory in a folder."""
        if self._run_lock is None:
            try:
                self._run_lock = RunLock()
            except OSError:
                return ""
        return self._run_lock.prefix
