"""Time each successful inference for the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.core.metrics import Metrics
from orchestrator.inference import Inference, Tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TimedInference:
    """`Inference` that measures another one.

    Durations go to the stage times under `infer`, with one label per Triton model.
    """

    def __init__(self, inference: Inference, metrics: Metrics) -> None:
        self._inference = inference
        self._metrics = metrics

    async def infer(
        self, model: str, inputs: Tensors, *, deadline: float
    ) -> dict[str, NDArray[Any]]:
        """See `Inference.infer`."""
        with self._metrics.stage("infer", model):
            return await self._inference.infer(model, inputs, deadline=deadline)

    async def infer_everywhere(self, model: str, inputs: Tensors, *, deadline: float) -> int:
        """See `Inference.infer_everywhere`."""
        return await self._inference.infer_everywhere(model, inputs, deadline=deadline)

    async def ready(self, model: str) -> bool:
        """See `Inference.ready`."""
        return await self._inference.ready(model)

    async def identity(self, model: str) -> str | None:
        """See `Inference.identity`."""
        return await self._inference.identity(model)
