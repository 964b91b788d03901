"""Prove an exported graph equal to its PyTorch module: names, shapes and types, values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.base import ExportSpec

Arrays: TypeAlias = dict[str, NDArray[Any]]

Runner: TypeAlias = Callable[[Arrays], Arrays]
"""From a graph's inputs to its outputs, both by name."""

REDUCED_SHARE: Final = 5e-3
"""Tolerance of half precision or a GPU's engine, as a share of the output's largest value."""

REDUCED_GREY_LEVELS: Final = 2.55
"""The same for bytes: root mean square of the difference; 40 dB of 255."""


class ExportError(Exception):
    """The export differs from its declaration; the message says where."""


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output, over all batches that were compared."""

    name: str
    error: float
    """Largest difference; of floats, as a share of the output's largest value above 1.

    See `measure`.
    """
    tolerance: float
    measure: str
    """"largest", or "root mean square" for bytes in reduced precision."""


def onnx_runner(path: Path, outputs: Sequence[str]) -> Runner:
    """ONNX Runtime on one thread of the CPU.

    Its CPU kernels are of single precision: around operators in half precision it casts, so weights
    and results are rounded to half while sums are not, as on a GPU.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    _same(
        path.parent.parent.name,
        "outputs",
        [value.name for value in session.get_outputs()],
        list(outputs),
    )
    return lambda rows: dict(zip(outputs, session.run(list(outputs), rows), strict=True))


def compare(
    spec: ExportSpec, run: Runner, batches: Sequence[int], *, reduced: bool = False
) -> list[OutputParity]:
    """Compare the results of `run` with the module's.

    `reduced` is for half precision and engines, with their own tolerances. The module gets one row
    at a time, so rows of a batch may not depend on one another. The first batch has the free axes
    as declared, the others half of them. Raises `ExportError` with the first output that differs.
    """
    parities: dict[str, OutputParity] = {}
    for position, batch in enumerate(batches):
        rows = spec.rows(batch, halved=position > 0)
        found = run({name: tensor.numpy() for name, tensor in rows.items()})
        for name, wanted in _row_by_row(spec, rows, batch).items():
            where = f"{spec.name}: {name} at batch {batch}"
            _same(
                where,
                "shape and type",
                [*found[name].shape, str(found[name].dtype)],
                [*wanted.shape, str(wanted.dtype)],
            )
            parity = _parity(spec, name, found[name], wanted, reduced)
            if not parity.error <= parity.tolerance:
                raise ExportError(
                    f"{where} differs by {parity.error:.3g} ({parity.measure}), "
                    f"tolerance {parity.tolerance:.3g}"
                )
            parities[name] = max(parities.get(name, parity), parity, key=lambda each: each.error)
    return list(parities.values())


def module_outputs(spec: ExportSpec, rows: Mapping[str, Tensor]) -> Arrays:
    """The module's outputs by name."""
    with torch.no_grad():
        outputs = spec.module(*rows.values())
    tensors = outputs if isinstance(outputs, tuple) else (outputs,)
    return {name: tensor.numpy() for name, tensor in zip(spec.outputs, tensors, strict=True)}


def _row_by_row(spec: ExportSpec, rows: Mapping[str, Tensor], batch: int) -> Arrays:
    """Outputs computed row by row; a batch of the renderers would take gigabytes."""
    single = [
        module_outputs(spec, {name: tensor[row : row + 1] for name, tensor in rows.items()})
        for row in range(batch)
    ]
    return {name: np.concatenate([each[name] for each in single]) for name in spec.outputs}


def _parity(
    spec: ExportSpec, name: str, found: NDArray[Any], wanted: NDArray[Any], reduced: bool
) -> OutputParity:
    """Parity of one output; the error is NaN where either array holds a non-finite number."""
    difference = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    if wanted.dtype.kind != "f" and reduced:
        return OutputParity(
            name,
            float(np.sqrt(np.mean(np.square(difference)))),
            REDUCED_GREY_LEVELS,
            "root mean square",
        )
    scale = (
        max(1.0, float(np.abs(wanted.astype(np.float64)).max(initial=0.0)))
        if wanted.dtype.kind == "f"
        else 1.0
    )
    tolerance = max(REDUCED_SHARE, spec.outputs[name]) if reduced else spec.outputs[name]
    return OutputParity(name, float(difference.max(initial=0.0)) / scale, tolerance, "largest")


def _same(where: str, what: str, found: list[Any], wanted: list[Any]) -> None:
    if found != wanted:
        raise ExportError(f"{where}: {what} {found}, expected {wanted}")
