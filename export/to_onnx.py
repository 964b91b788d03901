"""Writes a graph as ONNX with true shapes and its provenance, and proves it equal to the PyTorch module it was made from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.base import OPSET, ExportSpec
from orchestrator.inference.repository import ModelContract, TensorContract

PRODUCER: Final = "lipsync-service export"

TRACED_BATCH: Final = 2
"""Rows of the traced example: of one row the tracer might keep the 1."""


class ExportError(Exception):
    """The export is not what was declared; the message says what is off."""


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output, over all batches that were compared."""

    name: str
    error: float
    """Largest difference; of floats, as a share of the output's largest value where that is above 1."""
    tolerance: float


def write_onnx(spec: ExportSpec, path: Path, provenance: Mapping[str, str]) -> None:
    """Traces the module in eval mode; every axis of the file is then a number or one of the declared names."""
    example = spec.rows(TRACED_BATCH, halved=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns of every shape it takes for constant; parity is checked afterwards
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            spec.module.eval(),
            tuple(example.values()),
            str(path),
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes=spec.dynamic_axes,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(str(path))
    _name_axes(model, spec)
    _label(model, spec.name, provenance)
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path), full_check=True)


def check_contract(contract: ModelContract, path: Path) -> None:
    """Raises `ExportError` where `config.pbtxt` and the graph differ in names, types or dims."""
    graph = onnx.load(str(path), load_external_data=False).graph
    if contract.backend != "onnxruntime":
        raise ExportError(f"{contract.name}/config.pbtxt: backend {contract.backend!r}, expected 'onnxruntime'")
    for kind, promised, actual in (("input", contract.inputs, graph.input), ("output", contract.outputs, graph.output)):
        want, have = {tensor.name: _promised(tensor) for tensor in promised}, {value.name: _actual(value) for value in actual}
        if want.keys() != have.keys():
            raise ExportError(f"{contract.name}/config.pbtxt: {kind}s {sorted(want)}, the graph has {sorted(have)}")
        for name, description in want.items():
            if description != have[name]:
                raise ExportError(f"{contract.name}/config.pbtxt: {kind} {name} is {description}, in the graph {have[name]}")


def compare(spec: ExportSpec, path: Path, batches: Sequence[int]) -> list[OutputParity]:
    """ONNX Runtime on one thread against the module: names, then shapes and types, then values.

    The first batch has the free axes as declared, the others half of them. Raises `ExportError` with the first output that is off.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    _same(spec.name, "inputs", [value.name for value in session.get_inputs()], list(spec.inputs))
    _same(spec.name, "outputs", [value.name for value in session.get_outputs()], list(spec.outputs))
    errors = dict.fromkeys(spec.outputs, 0.0)
    for position, batch in enumerate(batches):
        rows = spec.rows(batch, halved=position > 0)
        wanted = _run(spec, rows)
        found: list[NDArray[Any]] = session.run(list(spec.outputs), {name: tensor.numpy() for name, tensor in rows.items()})
        for (name, tolerance), ours, theirs in zip(spec.outputs.items(), found, wanted, strict=True):
            _same(
                f"{spec.name}: {name} at batch {batch}",
                "shape and type",
                [*ours.shape, str(ours.dtype)],
                [*theirs.shape, str(theirs.dtype)],
            )
            errors[name] = max(errors[name], difference(ours, theirs))
            if not errors[name] <= tolerance:
                raise ExportError(f"{spec.name}: {name} differs by {errors[name]:.3g} at batch {batch}, tolerance {tolerance:.3g}")
    return [OutputParity(name, errors[name], tolerance) for name, tolerance in spec.outputs.items()]


def difference(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """See `OutputParity.error`; not a number where either holds one that is not finite."""
    exact, near = wanted.astype(np.float64), found.astype(np.float64)
    scale = 1.0 if wanted.dtype.kind != "f" else max(1.0, float(np.abs(exact).max(initial=0.0)))
    return float(np.abs(near - exact).max(initial=0.0)) / scale


def _run(spec: ExportSpec, rows: Mapping[str, Tensor]) -> list[NDArray[Any]]:
    with torch.no_grad():
        outputs = spec.module(*rows.values())
    return [tensor.numpy() for tensor in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _same(where: str, what: str, found: list[Any], wanted: list[Any]) -> None:
    if found != wanted:
        raise ExportError(f"{where}: {what} {found}, expected {wanted}")


def _name_axes(model: onnx.ModelProto, spec: ExportSpec) -> None:
    """The tracer leaves invented names on output axes that it could not follow; they are constant, or those declared."""
    example = spec.rows(1, halved=True)
    shapes = [*(tuple(tensor.shape) for tensor in example.values()), *(array.shape for array in _run(spec, example))]
    for value, shape in zip((*model.graph.input, *model.graph.output), shapes, strict=True):
        axes = spec.dynamic_axes[value.name]
        dims = value.type.tensor_type.shape.dim
        del dims[:]
        for axis, size in enumerate(shape):
            dims.add(**({"dim_param": axes[axis]} if axis in axes else {"dim_value": size}))


def _label(model: onnx.ModelProto, name: str, provenance: Mapping[str, str]) -> None:
    """Nothing of the machine stays in the file: no stack traces, no module paths."""
    model.producer_name, model.producer_version, model.doc_string = PRODUCER, "", provenance["weights"]
    model.graph.name, model.graph.doc_string = f"{name}: {provenance['weights']}", ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.helper.set_model_props(model, {"network": name, **provenance})


def _promised(tensor: TensorContract) -> str:
    return f"{tensor.dtype} {['batch', *tensor.dims]}"


def _actual(value: onnx.ValueInfoProto) -> str:
    kind = value.type.tensor_type
    dims = [-1 if dim.HasField("dim_param") else dim.dim_value for dim in kind.shape.dim]
    return f"{onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)} {['batch' if dims[0] == -1 else dims[0], *dims[1:]]}"
