"""Measure a network's self test in a child process.

The memory of a large network is free again before the server loads it. Started by `measure_apart`
alone: python -m orchestrator.inference.embedded.self_test_worker MODEL_FOLDER
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Final

import numpy as np

from orchestrator.core.child_process import run_module
from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.embedded.budgets import measurement_s
from orchestrator.inference.embedded.self_test import (
    ExpectedOutput,
    SelfTest,
    rising_inputs,
    self_test_of,
)
from orchestrator.inference.model_contract import ModelContract, read_model

NICENESS: Final = 15
"""Niceness of the child process, so that sessions come first."""


async def measure_apart(contract: ModelContract) -> SelfTest:
    """As `self_test_of`, for an ONNX model, in a child process.

    Raises MODEL_LOAD_FAILED if the network does not run, also for lack of memory or time.
    """
    launcher = [
        sys.executable,
        "-I",
        "-S",
        str(Path(__file__).with_name("launcher.py")),
        str(os.getpid()),
    ]
    try:
        finished = await run_module(
            __name__,
            str(contract.folder.absolute()),
            launcher=launcher,
            timeout_s=measurement_s(contract),
        )
    except TimeoutError:
        raise _failed(
            contract, f"it did not answer a single request within {measurement_s(contract):.0f} s"
        ) from None
    if finished.status:
        ended = f"it ended with code {finished.status}; is there enough memory?"
        raise _failed(contract, finished.complaint or ended)
    return _read(contract, finished.output)


def _failed(contract: ModelContract, reason: str) -> InferenceError:
    return InferenceError(
        LipSyncErrorCode.MODEL_LOAD_FAILED, f"{contract.file}: {reason}", model=contract.name
    )


def _read(contract: ModelContract, answer: bytes) -> SelfTest:
    with np.load(io.BytesIO(answer)) as arrays:
        expected = {
            each.name: ExpectedOutput(
                tuple(arrays[f"shape {each.name}"]), arrays[f"values {each.name}"]
            )
            for each in contract.outputs
        }
        return SelfTest(lambda: rising_inputs(contract), expected, *map(float, arrays["costs_s"]))


def _write(self_test: SelfTest) -> bytes:
    arrays = {"costs_s": np.array([self_test.opening_cpu_s, self_test.answer_cpu_s])}
    for name, known in self_test.expected.items():
        arrays |= {f"shape {name}": np.array(known.shape, np.int64), f"values {name}": known.values}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def main(folder: Path) -> int:
    """Write the self test to standard output; return exit status 1 and print the reason if none."""
    os.nice(NICENESS)
    try:
        self_test = self_test_of(read_model(folder / "config.pbtxt"))
    except InferenceError as error:
        print(error.message, file=sys.stderr)
        return 1
    assert self_test is not None
    sys.stdout.buffer.write(_write(self_test))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
