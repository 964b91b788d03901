"""The one place that opens an `Inference`.

Imports of gRPC and ONNX Runtime wait until one is opened: the embedded server starts before them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from orchestrator.core.config import ServiceConfig
from orchestrator.inference import Inference

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from orchestrator.inference.embedded.supervisor import EmbeddedTriton
    from orchestrator.inference.model_contract import Repository
    from orchestrator.inference.triton.inference import Server


@asynccontextmanager
async def open_inference(
    config: ServiceConfig, embedded: EmbeddedTriton | None = None
) -> AsyncIterator[Inference]:
    """Use the Tritons of `config.triton_urls`; without those `embedded`; else this process.

    `embedded` is entered here, and runs as long as the context. Raises `ContractError` for a
    broken model repository, and what `EmbeddedTriton` raises where it cannot start.
    """
    from orchestrator.inference.model_contract import read_repository

    repository = read_repository(config.model_repository)
    servers: list[str | Server] = [*config.triton_urls]
    async with AsyncExitStack() as opened:
        if embedded is not None and not servers:
            servers.append(await opened.enter_async_context(embedded))
        yield await opened.enter_async_context(_inference(servers, repository))


def _inference(
    servers: Sequence[str | Server], repository: Repository
) -> AbstractAsyncContextManager[Inference]:
    if servers:
        from orchestrator.inference.triton.inference import TritonInference

        return TritonInference(servers, repository)
    from orchestrator.inference.local.inference import LocalInference

    return LocalInference(repository)
