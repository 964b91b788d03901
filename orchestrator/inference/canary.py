"""Questions with known answers, asked before a model may call itself ready: a server can say OK and answer garbage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.inference import Tensors
from orchestrator.inference.local import open_model
from orchestrator.inference.repository import ModelContract, TensorContract
from orchestrator.motion import MOTION_PARAMETERS
from orchestrator.rendering.canary import CANARY_FACE, canary_frame

TOLERANCE: Final = 1e-3
"""Largest difference between the server's ONNX Runtime and this process's; both run on the same CPU."""


@dataclass(frozen=True, slots=True)
class Canary:
    """One request and the outputs it has to bring."""

    inputs: Tensors
    expected: Tensors

    def passed(self, outputs: Tensors) -> bool:
        """Whether `outputs` are the known ones: names, shapes, types and values."""
        return outputs.keys() == self.expected.keys() and all(_same(outputs[name], want) for name, want in self.expected.items())


def _same(got: NDArray[Any], want: NDArray[Any]) -> bool:
    alike = got.shape == want.shape and got.dtype == want.dtype
    return alike and bool(np.allclose(got, want, rtol=TOLERANCE, atol=TOLERANCE))


def canary_of(contract: ModelContract) -> Canary | None:
    """The model's canary, or None where no answer is known. Opens ONNX models in this process: run it in a thread."""
    if contract.name in KNOWN:
        return KNOWN[contract.name]()
    if contract.backend != "onnxruntime":
        return None
    inputs = {tensor.name: _ramp(tensor) for tensor in contract.inputs if not tensor.optional}
    return Canary(inputs, open_model(contract).run(inputs))


def _ramp(tensor: TensorContract) -> NDArray[Any]:
    """Zeros would hide inputs that arrive shifted or empty."""
    shape = (1, *(1 if dim < 0 else dim for dim in tensor.dims))
    return np.linspace(0.0, 1.0, int(np.prod(shape))).reshape(shape).astype(tensor.dtype)


def _tpsm() -> Canary:
    motion = np.linspace(0.0, 1.0, 2 * len(MOTION_PARAMETERS), dtype=np.float32).reshape(2, -1)
    face = np.broadcast_to(np.frombuffer(CANARY_FACE, np.uint8), (len(motion), len(CANARY_FACE)))
    return Canary({"motion": motion, "face": face}, {"frames": np.stack([canary_frame(row) for row in motion])})


KNOWN: Final[dict[str, Callable[[], Canary]]] = {"tpsm": _tpsm}
"""Models that are programs, and so have no second implementation to compare with."""
