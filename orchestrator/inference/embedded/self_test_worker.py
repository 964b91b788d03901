"""Measure a network's self test in a child process.

The memory of a large network is free again before the server loads it. Started by `measure_apart`
alone: python -m orchestrator.inference.embedded.self_test_worker MODEL_FOLDER
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from pathlib import Path
from typing import Final

import numpy as np

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.paths import IMPORT_ROOT
from orchestrator.inference import InferenceError
from orchestrator.inference.embedded.budgets import run_s
from orchestrator.inference.embedded.environment import SINGLE_THREADED
from orchestrator.inference.embedded.self_test import (
    ExpectedOutput,
    SelfTest,
    question,
    self_test_of,
)
from orchestrator.inference.model_contract import ModelContract, read_model

NICENESS: Final = 15
"""Niceness of the child process, so that sessions come first."""


async def measure_apart(contract: ModelContract) -> SelfTest:
    """As `self_test_of`, for an ONNX model, in a child process.

    Raises MODEL_LOAD_FAILED if the network does not run, also for lack of memory or time.
    """
    arguments = [sys.executable, "-m", __name__, str(contract.folder.absolute())]
    launcher = [
        sys.executable,
        "-I",
        "-S",
        str(Path(__file__).with_name("launcher.py")),
        str(os.getpid()),
    ]
    pipe, root = asyncio.subprocess.PIPE, str(IMPORT_ROOT)
    environment = (
        os.environ
        | SINGLE_THREADED
        | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    )
    process = await asyncio.create_subprocess_exec(
        *launcher, *arguments, stdout=pipe, stderr=pipe, env=environment
    )
    try:
        async with asyncio.timeout(run_s(contract)):
            answer, complaint = await process.communicate()
    except TimeoutError:
        raise _failed(
            contract, f"it did not answer a single request within {run_s(contract):.0f} s"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = (
            complaint.decode(errors="replace").strip()
            or f"it ended with code {process.returncode}; is there enough memory?"
        )
        raise _failed(contract, said)
    return _read(contract, answer)


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
        return SelfTest(lambda: question(contract), expected, *map(float, arrays["costs_s"]))


def _write(self_test: SelfTest) -> bytes:
    arrays = {"costs_s": np.array([self_test.opening_s, self_test.answering_s])}
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
