"""Half precision goes where products are, and nowhere near norms, splines, inputs and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed; it comes with the extra 'export'")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from export.half_precision import HalfPrecisionError, halve  # noqa: E402

TINY = 1e-9
"""Half precision has no number so small."""


def model(*, weight: float = 0.5) -> Any:
    """A product, a norm, a product, and a logarithm that its epsilon keeps finite."""
    nodes = [
        helper.make_node("Conv", ["picture", "weights"], ["a"], "/first/Conv"),
        helper.make_node("Relu", ["a"], ["b"], "/first/Relu"),
        helper.make_node(
            "InstanceNormalization", ["b", "ones", "zeros"], ["c"], "/norm/InstanceNormalization"
        ),
        helper.make_node("Conv", ["c", "weights"], ["d"], "/second/Conv"),
        helper.make_node(
            "Constant",
            [],
            ["epsilon"],
            "/splines/Constant",
            value=numpy_helper.from_array(np.float32(TINY)),
        ),
        helper.make_node("Mul", ["d", "epsilon"], ["e"], "/splines/Mul"),
        helper.make_node("Add", ["e", "epsilon"], ["f"], "/splines/Add"),
        helper.make_node("Identity", ["f"], ["answer"], "/last/Identity"),
    ]
    constants = {"weights": np.full((2, 2, 1, 1), weight), "ones": np.ones(2), "zeros": np.zeros(2)}
    initializers = [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()
    ]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["batch", 2, 4, 4])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["batch", 2, 4, 4])
    graph = helper.make_graph(nodes, "test", [picture], [answer], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def types(halved: Any) -> dict[str, str]:
    """Type of each node's first output, by the node's name."""
    graph = onnx.shape_inference.infer_shapes(halved, strict_mode=True).graph
    kinds = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)
    }
    return {node.name: TensorProto.DataType.Name(kinds[node.output[0]]) for node in graph.node}


def test_products_are_halved_and_norms_named_scopes_and_borders_are_not() -> None:
    halved = halve(model(), full_scopes=("splines",))
    onnx.checker.check_model(halved, full_check=True)
    kinds = types(halved)
    assert {kinds[name] for name in ("/first/Conv", "/first/Relu", "/second/Conv")} == {"FLOAT16"}
    assert {
        kinds[name] for name in ("/norm/InstanceNormalization", "/splines/Mul", "/splines/Add")
    } == {"FLOAT"}
    assert [
        value.type.tensor_type.elem_type for value in (*halved.graph.input, *halved.graph.output)
    ] == [TensorProto.FLOAT] * 2


def test_numbers_between_full_nodes_are_not_rounded_on_the_way() -> None:
    halved = halve(model(), full_scopes=("splines",))
    session = onnxruntime.InferenceSession(
        halved.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (answer,) = session.run(None, {"picture": np.zeros((3, 2, 4, 4), np.float32)})
    np.testing.assert_allclose(answer, TINY, rtol=1e-6)


def test_an_output_that_a_product_gives_is_cast_back() -> None:
    cut = model()
    del cut.graph.node[4:]
    cut.graph.node[-1].output[0] = "answer"
    halved = halve(cut, full_scopes=())
    onnx.checker.check_model(halved, full_check=True)
    assert types(halved)["/second/Conv"] == "FLOAT16"
    assert halved.graph.node[-1].op_type == "Cast"
    assert halved.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_a_weight_beyond_half_precision_is_named() -> None:
    with pytest.raises(HalfPrecisionError, match="weights holds numbers beyond 65504"):
        halve(model(weight=1e5), full_scopes=())


def test_a_module_that_the_graph_does_not_have_is_named() -> None:
    with pytest.raises(HalfPrecisionError, match="no module /spline in the graph"):
        halve(model(), full_scopes=("spline",))
