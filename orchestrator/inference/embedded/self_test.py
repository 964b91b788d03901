"""Self tests with known answers, which a model has to pass before it counts as ready.

A server can answer with status OK and garbage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.inference import Tensors
from orchestrator.inference.local.inference import open_model
from orchestrator.inference.model_contract import ModelContract, TensorContract
from orchestrator.rendering.frame_centres import RESTING_CENTRE
from orchestrator.rendering.motion import HEAD_PARAMETERS, MOTION_PARAMETERS, MOUTH_PARAMETERS
from orchestrator.rendering.test_card import CARD_FACE, card_frame

TOLERANCE: Final = 1e-3
"""Largest difference between the server's ONNX Runtime and this process's, on the same CPU."""

MAX_ROUNDED_SHARE: Final = 0.05
"""Largest share of an image's bytes that may differ by one: the tolerance can change rounding."""

MAX_KEPT_VALUES: Final = 4096
"""Upper bound of values of an output that are kept and compared.

Encodings of a photo have millions.
"""


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedOutput:
    """Expected output: its shape, and evenly spaced values of it."""

    shape: tuple[int, ...]
    values: NDArray[Any]

    @classmethod
    def of(cls, output: NDArray[Any]) -> ExpectedOutput:
        """Reduce an output to the values to keep."""
        return cls(output.shape, _kept(output).copy())

    def equals(self, output: NDArray[Any]) -> bool:
        """True if `output` has the expected shape, type and values within the tolerance."""
        if output.shape != self.shape or output.dtype != self.values.dtype:
            return False
        got, want = (values.astype(np.float64) for values in (_kept(output), self.values))
        if output.dtype == np.uint8:
            off = np.abs(got - want)
            return bool(
                np.all(off <= 1.0) and np.count_nonzero(off) <= MAX_ROUNDED_SHARE * off.size
            )
        return bool(np.allclose(got, want, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))


def _kept(output: NDArray[Any]) -> NDArray[Any]:
    return output.reshape(-1)[:: max(1, -(-output.size // MAX_KEPT_VALUES))]


@dataclass(frozen=True, slots=True, eq=False)
class SelfTest:
    """One request and its expected outputs."""

    make_inputs: Callable[[], Tensors]
    """Makes the request's inputs: large ones are not worth keeping."""
    expected: Mapping[str, ExpectedOutput]
    opening_cpu_s: float = 0.0
    answer_cpu_s: float = 0.0
    """CPU time of the measured answer."""

    def passed(self, outputs: Tensors) -> bool:
        """True if names, shapes, types and values of `outputs` are the expected ones."""
        return outputs.keys() == self.expected.keys() and all(
            known.equals(outputs[name]) for name, known in self.expected.items()
        )


def self_test_of(contract: ModelContract) -> SelfTest | None:
    """The model's self test, or None where no expected answer is known.

    Opens ONNX models in this process: run it in a thread.
    """
    if contract.name in PROGRAM_TESTS:
        return PROGRAM_TESTS[contract.name](contract)
    if contract.backend != "onnxruntime":
        return None
    began = time.thread_time()
    model = open_model(contract)
    opened = time.thread_time()
    outputs = model.run(rising_inputs(contract))
    expected = {name: ExpectedOutput.of(output) for name, output in outputs.items()}
    return SelfTest(
        lambda: rising_inputs(contract), expected, opened - began, time.thread_time() - opened
    )


def rising_inputs(contract: ModelContract) -> Tensors:
    """One item of rising numbers: zeros would hide inputs that arrive shifted or empty."""
    return {tensor.name: _ramp(tensor) for tensor in contract.inputs if not tensor.optional}


def _ramp(tensor: TensorContract) -> NDArray[Any]:
    shape = (1, *(1 if dim < 0 else dim for dim in tensor.dims))
    top = 255.0 if tensor.dtype == np.uint8 else 1.0
    return (
        np.linspace(0.0, top, int(np.prod(shape)), dtype=np.float32)
        .reshape(shape)
        .astype(tensor.dtype)
    )


def _tpsm(_: ModelContract) -> SelfTest:
    motion = np.linspace(0.0, 1.0, 2 * len(MOTION_PARAMETERS), dtype=np.float32).reshape(2, -1)
    face = np.broadcast_to(np.frombuffer(CARD_FACE, np.uint8), (len(motion), len(CARD_FACE)))
    frames = np.stack([card_frame(row) for row in motion])
    return SelfTest(lambda: {"motion": motion, "face": face}, {"frames": ExpectedOutput.of(frames)})


def _tpsm_speech(contract: ModelContract) -> SelfTest:
    """Two frames of a resting mouth, which does not depend on the audio.

    The network's own self test covers the audio.
    """
    idle = np.linspace(0.0, 1.0, 2 * len(HEAD_PARAMETERS), dtype=np.float32).reshape(2, -1)
    moments = np.insert(idle, 0, RESTING_CENTRE, axis=1)[None]
    frames = np.concatenate(
        [
            card_frame(np.concatenate([np.zeros(len(MOUTH_PARAMETERS), np.float32), row]))
            for row in idle
        ]
    )
    face = np.frombuffer(CARD_FACE, np.uint8)[None]
    return SelfTest(
        lambda: {**rising_inputs(contract), "moments": moments, "face": face},
        {"frames": ExpectedOutput.of(frames[None])},
    )


PROGRAM_TESTS: Final[dict[str, Callable[[ModelContract], SelfTest]]] = {
    "tpsm": _tpsm,
    "tpsm_speech": _tpsm_speech,
}
"""Models that are programs, and so have no second implementation to compare with."""
