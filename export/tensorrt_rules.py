"""Rules of TensorRT's ONNX parser, checked without TensorRT.

Operators, types, ranks, and the places where bytes are allowed. Facts: the support matrix of the
parser for TensorRT 10.0, `docs/operators.md` of github.com/onnx/onnx-tensorrt. Operators whose
conditions are not checked here are left out, and those that no talking head needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx
from onnx import TensorProto

_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
_NUMBERS: Final = _FLOATS | {TensorProto.INT32, TensorProto.INT64}
_ALL: Final = _NUMBERS | {TensorProto.BOOL}

_OF_FLOATS: Final = """
AveragePool BatchNormalization Ceil Clip Conv ConvTranspose Cos Elu Erf Exp Floor Gemm
GlobalAveragePool GridSample HardSigmoid
InstanceNormalization LSTM LayerNormalization LeakyRelu Log MatMul MaxPool PRelu Pow Reciprocal
Resize Round Selu Sigmoid Sin Softmax
Softplus Sqrt Tan Tanh
"""
_OF_NUMBERS: Final = """
Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mod Mul
Neg Pad Range ReduceL1 ReduceL2
ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Sign Sub Sum
"""
_OF_ALL: Final = """
Concat Constant ConstantOfShape Expand Flatten Gather GatherElements GatherND Identity Reshape Shape
Size Slice Split Squeeze Tile
Transpose Unsqueeze Where
"""
OPERATORS: Final = {
    **dict.fromkeys(_OF_FLOATS.split(), _FLOATS),
    **dict.fromkeys(_OF_NUMBERS.split(), _NUMBERS),
    **dict.fromkeys(_OF_ALL.split(), _ALL),
    **dict.fromkeys(("And", "Not", "Or", "Xor"), frozenset({TensorProto.BOOL})),
    "Cast": _ALL | {TensorProto.UINT8},
}
"""Operator -> types of its data."""

CONSTANT_INPUTS: Final = {"Pad": 3, "Slice": 3, "Squeeze": 1, "Unsqueeze": 1} | {
    name: 1 for name in OPERATORS if name.startswith("Reduce")
}
"""Operator -> number of the input, its axes, that has to be a constant."""

RESIZE_POSITIONS: Final = frozenset(
    {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"}
)
RESIZE_MODES: Final = frozenset({"nearest", "linear"})
MAX_AXES: Final = 8
"""Largest number of axes of a tensor in TensorRT."""


def find_problems(model: onnx.ModelProto) -> list[str]:
    """One sentence for each violation; empty for a graph that TensorRT accepts."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    return list(dict.fromkeys(_Graph(inferred.graph).problems()))


class _Graph:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        values = (*graph.input, *graph.output, *graph.value_info)
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._ranks = {
            value.name: len(value.type.tensor_type.shape.dim)
            for value in values
            if value.type.tensor_type.HasField("shape")
        }
        self._constants = {tensor.name for tensor in graph.initializer}
        for tensor in graph.initializer:
            self._types[tensor.name], self._ranks[tensor.name] = tensor.data_type, len(tensor.dims)
        self._constants.update(
            name for node in graph.node if node.op_type == "Constant" for name in node.output
        )

    def problems(self) -> Iterator[str]:
        for node in self._graph.node:
            if node.op_type not in OPERATORS:
                yield f"operator {node.op_type} ({node.name}) is not on the list"
                continue
            yield from self._type_problems(node)
            yield from self._bytes_problems(node)
            yield from self._rank_problems(node)
            yield from self._condition_problems(node)

    def _type_problems(self, node: onnx.NodeProto) -> Iterator[str]:
        data = node.output[0] if not node.input else node.input[1 if node.op_type == "Where" else 0]
        kind = self._types.get(data, TensorProto.UNDEFINED)
        if kind not in OPERATORS[node.op_type]:
            yield f"{node.op_type} ({node.name}) of {TensorProto.DataType.Name(kind)}"

    def _bytes_problems(self, node: onnx.NodeProto) -> Iterator[str]:
        """Violations by bytes, which are inputs and outputs only, cast at once."""
        border = {value.name for value in (*self._graph.input, *self._graph.output)}
        for name in (*node.input, *node.output):
            if self._types.get(name) == TensorProto.UINT8 and name not in border:
                yield f"bytes inside the graph: {name} at {node.op_type} ({node.name})"

    def _rank_problems(self, node: onnx.NodeProto) -> Iterator[str]:
        for name in node.output:
            if name and not 0 <= self._ranks.get(name, -1) <= MAX_AXES:
                yield (
                    f"{node.op_type} ({node.name}) gives "
                    f"{self._ranks.get(name, 'an unknown number of')} axes"
                )

    def _condition_problems(self, node: onnx.NodeProto) -> Iterator[str]:
        index, kind = CONSTANT_INPUTS.get(node.op_type), node.op_type
        if (
            index is not None
            and index < len(node.input)
            and node.input[index]
            and node.input[index] not in self._constants
        ):
            yield f"{kind} ({node.name}) with axes that are computed"
        if kind == "GridSample" and self._ranks.get(node.input[0]) != 4:
            yield f"GridSample ({node.name}) of other than pictures"
        if kind in ("AveragePool", "MaxPool") and self._ranks.get(node.input[0]) not in (4, 5):
            yield f"{kind} ({node.name}) over one axis"
        if kind == "Resize":
            yield from _resize_problems(node)


def _resize_problems(node: onnx.NodeProto) -> Iterator[str]:
    attributes = {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute
    }
    mode = attributes.get("mode", b"nearest").decode()
    position = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    if mode not in RESIZE_MODES or position not in RESIZE_POSITIONS or attributes.get("antialias"):
        yield (
            f"Resize ({node.name}) with mode {mode}, positions {position}, "
            f"antialias {attributes.get('antialias', 0)}"
        )
