"""Run the models of a repository in this process, without a server.

For offline rendering and for tests.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import onnxruntime as ort
from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError, NotServed, Tensors
from orchestrator.inference.local.python_backend import PythonModel
from orchestrator.inference.model_contract import ModelContract, Repository
from orchestrator.inference.model_fingerprint import NetworkIdentities, Stamp, stamp_of
from orchestrator.inference.triton.status_codes import timed_out

logger = logging.getLogger(__name__)

MAX_THREADS = 2
"""Threads that run models; further requests wait within their deadlines."""


class Runner(Protocol):
    """An opened model."""

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """All outputs of one request."""
        ...


def _utf8(path: Path) -> str:
    """The path in UTF-8, the only encoding that ONNX Runtime takes.

    Python's own text differs where the locale is C.
    """
    return os.fsencode(path).decode()


class OnnxModel:
    """An ONNX Runtime session on one thread; safe to call from several."""

    def __init__(self, contract: ModelContract) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._outputs = [tensor.name for tensor in contract.outputs]
        self._session = ort.InferenceSession(
            _utf8(contract.file), options, providers=["CPUExecutionProvider"]
        )

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """One run."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))


class _LockedModel:
    """A Python model behind a lock."""

    def __init__(self, contract: ModelContract) -> None:
        self._model, self._lock = PythonModel(contract), threading.Lock()

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        with self._lock:
            return self._model.run(inputs)


class LocalInference:
    """`Inference` over a model repository, without a server.

    An async context manager; models are opened on first use.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._opened: dict[str, Runner] = {}
        self._stamps: dict[str, Stamp | None] = {}
        self._identities = NetworkIdentities()
        self._opening = threading.Lock()
        self._workers = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="inference")

    async def __aenter__(self) -> LocalInference:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def ready(self, model: str) -> bool:
        """True if the model's files are present."""
        contract = self._repository.models.get(model)
        return contract is not None and contract.present and not contract.steps

    async def identity(self, model: str) -> str | None:
        """See `Inference.identity`."""
        contract = self._repository.models.get(model)
        if contract is None:
            return None
        stamp = self._stamps[model] if model in self._stamps else stamp_of(contract)
        return await self._identities.of(contract, stamp)

    async def infer(
        self, model: str, inputs: Tensors, *, deadline: float
    ) -> dict[str, NDArray[Any]]:
        """See `Inference.infer`. A run that has begun continues in its thread after the deadline.

        Ensembles only save requests to a server, so here they raise `NotServed`.
        """
        loop, contract = asyncio.get_running_loop(), self._repository.models.get(model)
        if contract is None or contract.steps or not contract.present:
            raise NotServed(model)
        if deadline <= loop.time():
            raise timed_out(model)
        try:
            async with asyncio.timeout_at(deadline):
                return await loop.run_in_executor(self._workers, self._run, contract, inputs)
        except TimeoutError:
            raise timed_out(model) from None

    async def infer_everywhere(self, model: str, inputs: Tensors, *, deadline: float) -> int:
        """See `Inference.infer_everywhere`; this process is the only server."""
        try:
            await self.infer(model, inputs, deadline=deadline)
        except InferenceError as error:
            logger.warning("%s: sending ahead of use failed: %s", model, error.message)
            return 0
        return 1

    def _run(self, contract: ModelContract, inputs: Tensors) -> dict[str, NDArray[Any]]:
        runner = self._runner(contract)
        try:
            contract.check(inputs)
            return runner.run(inputs)
        except InferenceError:
            raise
        # the edge of the model, as in a server: any exception becomes the request's error
        except Exception as error:
            message = f"{contract.name}: {error}"
            raise InferenceError(
                LipSyncErrorCode.VIDEO_GENERATION_FAILED, message, model=contract.name
            ) from error

    def _runner(self, contract: ModelContract) -> Runner:
        with self._opening:
            if contract.name not in self._opened:
                self._stamps[contract.name] = stamp_of(contract)
                self._opened[contract.name] = open_model(contract)
            return self._opened[contract.name]


def open_model(contract: ModelContract) -> Runner:
    """Load a model into this process; raises MODEL_LOAD_FAILED with the reason."""
    backends: dict[str, type[OnnxModel] | type[_LockedModel]] = {
        "onnxruntime": OnnxModel,
        "python": _LockedModel,
    }
    try:
        return backends[contract.backend](contract)
    except Exception as error:  # a broken file can raise anything
        raise InferenceError(
            LipSyncErrorCode.MODEL_LOAD_FAILED, f"{contract.name}: {error}", model=contract.name
        ) from error
