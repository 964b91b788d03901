"""Mixed precision for GPUs: products in half precision, everything else in single.

Splines, grids, norms, and the inputs and outputs of a graph stay in single precision. Written here,
since the available converters cast after every node: between two nodes that stay in single
precision they round each value and each constant to half.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

PRODUCT_OPERATORS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators with nearly all of the work; GPUs accumulate their terms in single precision."""

FOLLOWING_OPERATORS: Final = """
Add AveragePool Clip Concat Expand Flatten Gather Identity LeakyRelu MaxPool Mul Pad Relu Reshape
Resize Slice Split Squeeze Sub Transpose
Unsqueeze
"""
"""Operators in half precision where one of their inputs is.

Every other operator stays in single precision, the norms among them.
"""

SCALES_OF_RESIZE: Final = 2
"""Number of the one input that ONNX defines in single precision only."""


class HalfPrecisionError(ValueError):
    """A weight beyond the range of half precision, or an unknown module; the message names it."""


def halve(model: onnx.ModelProto, full_scopes: Collection[str]) -> onnx.ModelProto:
    """A copy with products in half precision; inputs and outputs keep their types.

    `config.pbtxt` thus stays true.

    `full_scopes` are paths of modules, by their calls ("renderer/dense_motion_network"), whose own
    nodes, not their children's, stay in single precision; those of the outermost module always do.
    Raises `HalfPrecisionError`.
    """
    scopes = {"", *(f"/{scope}" for scope in full_scopes)}
    if unknown := scopes - {_scope(node) for node in model.graph.node} - {""}:
        raise HalfPrecisionError(
            f"no module {', '.join(sorted(unknown))} in the graph {model.graph.name}"
        )
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    _Halving(halved.graph, _floats(inferred.graph), scopes).run()
    del halved.graph.value_info[:]
    return halved


class _Halving:
    """Walks the nodes in order and casts a tensor where the precisions meet, once per tensor."""

    def __init__(
        self, graph: onnx.GraphProto, floats: set[str], full_scopes: Collection[str]
    ) -> None:
        self._graph, self._floats = graph, floats
        self._full_scopes = full_scopes
        self._constants = {
            tensor.name: tensor for tensor in graph.initializer if tensor.name in floats
        }
        self._following = frozenset(FOLLOWING_OPERATORS.split())
        self._half: set[str] = set()
        self._casts: set[str] = set()
        self._used: dict[str, TensorProto] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        for node in self._graph.node:
            if node.op_type == "Constant" and node.output[0] in self._floats:
                self._constants[node.output[0]] = node.attribute[0].t
            else:
                self._add(node)
        self._restore_outputs()
        others = [tensor for tensor in self._graph.initializer if tensor.name not in self._floats]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend([*others, *self._used.values()])

    def _add(self, node: onnx.NodeProto) -> None:
        half = self._is_half(node)
        for index, name in enumerate(node.input):
            if name in self._floats:
                fixed = node.op_type == "Resize" and index == SCALES_OF_RESIZE
                node.input[index] = (
                    self._constant(name, half and not fixed)
                    if name in self._constants
                    else self._cast(name, half)
                )
        if half:
            self._half.update(name for name in node.output if name in self._floats)
        self._nodes.append(node)

    def _is_half(self, node: onnx.NodeProto) -> bool:
        if _scope(node) in self._full_scopes:
            return False
        return node.op_type in PRODUCT_OPERATORS or (
            node.op_type in self._following and any(name in self._half for name in node.input)
        )

    def _constant(self, name: str, half: bool) -> str:
        """The constant in that precision, by its new name."""
        wanted = f"{name}_fp16" if half else name
        if wanted not in self._used:
            values = numpy_helper.to_array(self._constants[name])
            if half and not np.all(np.abs(values) <= np.finfo(np.float16).max):
                raise HalfPrecisionError(
                    f"{name} holds numbers beyond 65504, the largest of half precision; "
                    "export it in fp32"
                )
            self._used[wanted] = numpy_helper.from_array(
                values.astype(np.float16 if half else np.float32), wanted
            )
        return wanted

    def _cast(self, name: str, half: bool) -> str:
        if (name in self._half) == half:
            return name
        wanted = f"{name}_{'fp16' if half else 'fp32'}"
        if wanted not in self._casts:
            self._casts.add(wanted)
            kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            self._nodes.append(onnx.helper.make_node("Cast", [name], [wanted], wanted, to=kind))
        return wanted

    def _restore_outputs(self) -> None:
        """Cast outputs that are half precision back; other readers of them keep the half."""
        for output in self._graph.output:
            if output.name in self._half:
                inner = f"{output.name}_fp16"
                for node in self._nodes:
                    node.input[:] = [inner if name == output.name else name for name in node.input]
                    node.output[:] = [
                        inner if name == output.name else name for name in node.output
                    ]
                self._nodes.append(
                    onnx.helper.make_node(
                        "Cast", [inner], [output.name], inner, to=TensorProto.FLOAT
                    )
                )


def _scope(node: onnx.NodeProto) -> str:
    """Path of modules in a node's name: the tracer writes "/renderer/third/Conv"."""
    scope: str = node.name.rpartition("/")[0]
    return scope


def _floats(graph: onnx.GraphProto) -> set[str]:
    """Names of all tensors in single precision."""
    values = (*graph.input, *graph.output, *graph.value_info)
    names = {
        value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    return names | {
        tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT
    }
