"""Write a graph as ONNX with true shapes and its provenance, and check its contract."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import onnx
import torch

from export.base import OPSET, ExportSpec
from export.half_precision import HalfPrecisionError, halve
from export.parity import ExportError, module_outputs
from orchestrator.inference.model_contract import ModelContract, TensorContract

PRODUCER: Final = "lipsync-service export"

TRACED_BATCH: Final = 2
"""Rows of the traced example: with one row the tracer might keep the 1."""


def write_onnx(
    spec: ExportSpec, path: Path, provenance: Mapping[str, str], *, half: bool = False
) -> None:
    """Trace the module in eval mode and write it.

    Every axis of the file is then a number or one of the declared names.
    """
    example = spec.rows(TRACED_BATCH, halved=True)
    with warnings.catch_warnings(), torch.no_grad():
        # the tracer warns of every shape it takes for constant; parity is checked afterwards
        warnings.simplefilter("ignore")
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
    _label(model, spec.name, {**provenance, "precision": "fp16" if half else "fp32"})
    onnx.save(_halved(model, spec) if half else model, str(path))
    onnx.checker.check_model(str(path), full_check=True)


def _halved(model: onnx.ModelProto, spec: ExportSpec) -> onnx.ModelProto:
    try:
        return halve(model, spec.full_precision)
    except HalfPrecisionError as error:
        raise ExportError(f"{spec.name}: {error}") from error


def check_contract(contract: ModelContract, graph: onnx.GraphProto) -> None:
    """Raise `ExportError` where `config.pbtxt` and the graph differ in names, types or dims."""
    if contract.backend != "onnxruntime":
        raise ExportError(
            f"{contract.name}/config.pbtxt: backend {contract.backend!r}, expected 'onnxruntime'"
        )
    for kind, promised, actual in (
        ("input", contract.inputs, graph.input),
        ("output", contract.outputs, graph.output),
    ):
        want, have = (
            {tensor.name: _promised(tensor) for tensor in promised},
            {value.name: _actual(value) for value in actual},
        )
        if want.keys() != have.keys():
            raise ExportError(
                f"{contract.name}/config.pbtxt: "
                f"{kind}s {sorted(want)}, the graph has {sorted(have)}"
            )
        for name, description in want.items():
            if description != have[name]:
                raise ExportError(
                    f"{contract.name}/config.pbtxt: "
                    f"{kind} {name} is {description}, in the graph {have[name]}"
                )


def _name_axes(model: onnx.ModelProto, spec: ExportSpec) -> None:
    """Replace the invented names that the tracer leaves on output axes.

    Those axes are constant, or have a declared name.
    """
    example = spec.rows(1, halved=True)
    shapes = [
        *(tuple(tensor.shape) for tensor in example.values()),
        *(array.shape for array in module_outputs(spec, example).values()),
    ]
    for value, shape in zip((*model.graph.input, *model.graph.output), shapes, strict=True):
        axes = spec.dynamic_axes[value.name]
        dims = value.type.tensor_type.shape.dim
        del dims[:]
        for axis, size in enumerate(shape):
            dims.add(**({"dim_param": axes[axis]} if axis in axes else {"dim_value": size}))


def _label(model: onnx.ModelProto, name: str, provenance: Mapping[str, str]) -> None:
    """Write the labels, and remove traces of the machine: stack traces, module paths."""
    model.producer_name, model.producer_version, model.doc_string = (
        PRODUCER,
        "",
        provenance["weights"],
    )
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
    return (
        f"{onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)} "
        f"{['batch' if dims[0] == -1 else dims[0], *dims[1:]]}"
    )
