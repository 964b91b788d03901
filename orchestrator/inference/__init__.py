"""The interface between model adapters and inference, served by Triton or by this process.

Light to import: the embedded server is started before numpy, gRPC and onnxruntime are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors: TypeAlias = "Mapping[str, NDArray[Any]]"
"""Named arrays as in `config.pbtxt`; the batch is the first axis of every array."""


class ContractError(ValueError):
    """Tensors or a configuration that break the contract.

    A bug of the service or a broken repository, never caused by a client.
    """


class InferenceError(LipSyncError):
    """A request without a result; `code` says what the caller can do."""

    def __init__(self, code: LipSyncErrorCode, message: str, *, model: str) -> None:
        super().__init__(code, message, details={"model": model})
        self.model = model


class NotCached(InferenceError):  # noqa: N818 - a condition that the caller resolves
    """The model does not hold the face of the request: send its maps with the next request."""

    def __init__(self, message: str, *, model: str) -> None:
        super().__init__(LipSyncErrorCode.FACE_MODEL_NOT_FOUND, message, model=model)


class NotServed(InferenceError):  # noqa: N818 - a normal condition of optional models
    """The model is not available here, and no request was made.

    It was not exported, or it is an ensemble that no server has loaded.
    """

    def __init__(self, model: str) -> None:
        super().__init__(
            LipSyncErrorCode.MODEL_LOAD_FAILED,
            f"{model}: no such model, or its file is missing",
            model=model,
        )


class Inference(Protocol):
    """Interface to run models by name."""

    async def infer(
        self, model: str, inputs: Tensors, *, deadline: float
    ) -> dict[str, NDArray[Any]]:
        """Run `model` and return all its outputs.

        `deadline` is absolute, in seconds of `time.monotonic()` (the event loop's clock).

        Raises `NotCached`, `NotServed`, or `InferenceError` with `TIMEOUT`, `MODEL_LOAD_FAILED`,
        `VIDEO_GENERATION_FAILED`, `BUFFER_OVERFLOW` or `GPU_UNAVAILABLE`. Cancelling the task
        cancels the request.
        """
        ...

    async def infer_everywhere(self, model: str, inputs: Tensors, *, deadline: float) -> int:
        """Send one request to every server that has `model` ready; return how many answered.

        For models that keep state, such as the maps of a face. Failures are logged and raise
        nothing.
        """
        ...

    async def ready(self, model: str) -> bool:
        """True if `model` would answer now; a cached fact, cheap enough to check for each chunk."""
        ...

    async def identity(self, model: str) -> str | None:
        """Identity of the weights that `model` is served with; results are valid while it stays.

        None where it cannot be known: the files are not on this machine, or changed since they were
        loaded.
        """
        ...
