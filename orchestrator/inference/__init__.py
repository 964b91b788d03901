"""One narrow door to inference: what a model adapter may ask, whoever answers (Triton or this
process).

Light to import: the embedded server is started before numpy, gRPC and onnxruntime are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors: TypeAlias = "Mapping[str, NDArray[Any]]"
"""Named arrays as `config.pbtxt` names them; the batch is the first axis of every one."""


class ContractError(ValueError):
    """Tensors, or a configuration, that break the contract: a bug of ours or a broken repository,
    never a client's doing.
    """


class InferenceError(LipSyncError):
    """A request that brought no answer; `code` says what the caller can do (DESIGN 3)."""

    def __init__(self, code: LipSyncErrorCode, message: str, *, model: str) -> None:
        super().__init__(code, message, details={"model": model})
        self.model = model


class NotCached(InferenceError):  # noqa: N818 - a condition that the caller mends, by sending the maps, not a failure
    """The model does not hold the face that the request names; send its maps along and ask
    again.
    """

    def __init__(self, message: str, *, model: str) -> None:
        super().__init__(LipSyncErrorCode.FACE_MODEL_NOT_FOUND, message, model=model)


class NotServed(InferenceError):  # noqa: N818 - a condition: what is optional is done without
    """Nobody here has the model: it was not exported, or it is an ensemble that no server has
    loaded. No request was made.
    """

    def __init__(self, model: str) -> None:
        super().__init__(
            LipSyncErrorCode.MODEL_LOAD_FAILED,
            f"{model}: no such model, or its file is missing",
            model=model,
        )


class Inference(Protocol):
    """Runs models by name."""

    async def infer(
        self, model: str, inputs: Tensors, *, deadline: float
    ) -> dict[str, NDArray[Any]]:
        """All outputs of `model`. `deadline` is absolute, on `time.monotonic()` (the event loop's
        clock).

        Raises `NotCached`, `NotServed`, or `InferenceError` with `TIMEOUT`, `MODEL_LOAD_FAILED`,
        `VIDEO_GENERATION_FAILED`, `BUFFER_OVERFLOW` or `GPU_UNAVAILABLE`. Cancelling the task
        cancels the request.
        """
        ...

    async def infer_everywhere(self, model: str, inputs: Tensors, *, deadline: float) -> int:
        """Send one request to every server that has `model` ready, for what it leaves there; the
        number of those that answered.

        Failures are logged; they raise nothing.
        """
        ...

    async def ready(self, model: str) -> bool:
        """Whether `model` would answer now; a cached fact, cheap enough to ask for each chunk."""
        ...

    async def identity(self, model: str) -> str | None:
        """One string for the weights that `model` is served with: what it answers may be kept for
        as long as that stays.

        None where it cannot be known: the files are not on this machine, or changed since they were
        loaded.
        """
        ...
