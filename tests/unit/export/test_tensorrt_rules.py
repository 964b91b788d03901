"""What TensorRT's parser would refuse is found without TensorRT, and said in words; its shapes are
held against the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.core.paths import MODEL_REPOSITORY

onnx = pytest.importorskip("onnx", reason="onnx is not installed; it comes with the extra 'export'")
pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from export.__main__ import main as dispatch  # noqa: E402
from export.check import profile_problems  # noqa: E402
from export.tensorrt_config import Shapes, write_accelerated  # noqa: E402
from export.tensorrt_rules import find_problems  # noqa: E402
from orchestrator.inference.model_contract import ModelContract, read_model  # noqa: E402


def model(
    *nodes: Any,
    shape: tuple[Any, ...] = ("batch", 8, 8, 3),
    kind: int = TensorProto.FLOAT,
    **constants: Any,
) -> Any:
    """A graph from `x` to `y`."""
    last = nodes[-1].op_type == "Cast" and helper.get_attribute_value(nodes[-1].attribute[0])
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", last or kind, None)
    initializers = [
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    ]
    graph = helper.make_graph(nodes, "test", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def node(kind: str, *inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [output], f"/{kind}", **attributes)


def cast(source: str, to: int, output: str = "y") -> Any:
    return node("Cast", source, output=output, to=to)


TRANSPOSED = node("Transpose", "x", output="t", perm=[0, 3, 1, 2])

REFUSED = {
    "operator Mish": model(node("Mish", "x")),
    "Relu (/Relu) of DOUBLE": model(node("Relu", "x"), kind=TensorProto.DOUBLE),
    "Clip (/Clip) of INT64": model(node("Clip", "x"), kind=TensorProto.INT64),
    "bytes inside the graph": model(
        TRANSPOSED, cast("t", TensorProto.FLOAT), kind=TensorProto.UINT8
    ),
    "mode cubic": model(
        node("Resize", "x", "", "scales", mode="cubic"), scales=np.ones(4, np.float32)
    ),
    "with axes that are computed": model(
        node("Shape", "x", output="axes"), node("ReduceSum", "x", "axes")
    ),
    "gives 9 axes": model(node("Unsqueeze", "x", "axes"), axes=np.arange(5)),
    "over one axis": model(node("MaxPool", "x", kernel_shape=[2]), shape=("batch", 4, 8)),
}


@pytest.mark.parametrize("problem", REFUSED)
def test_what_tensorrt_would_refuse_is_named(problem: str) -> None:
    assert any(problem in found for found in find_problems(REFUSED[problem])), find_problems(
        REFUSED[problem]
    )


def test_bytes_that_are_cast_at_the_border_are_taken() -> None:
    numbers = node("Transpose", "f", output="t", perm=[0, 3, 1, 2])
    graph = model(
        cast("x", TensorProto.FLOAT, "f"),
        numbers,
        cast("t", TensorProto.UINT8),
        kind=TensorProto.UINT8,
    )
    assert find_problems(graph) == []


class TestShapes:
    """Of `wav2lip`, whose inputs are a mel window and a face."""

    @pytest.fixture
    def contract(self) -> ModelContract:
        return read_model(MODEL_REPOSITORY / "wav2lip" / "config.pbtxt")

    @pytest.fixture
    def graph(self, contract: ModelContract) -> Any:
        inputs = [
            helper.make_tensor_value_info(each.name, TensorProto.FLOAT, ["batch", *each.dims])
            for each in contract.inputs
        ]
        return helper.make_graph([], "wav2lip", inputs, [])

    def test_those_of_the_graph_are_taken(self, contract: ModelContract, graph: Any) -> None:
        assert list(profile_problems(contract, graph, self._shapes(16, 80))) == []

    def test_another_size_a_smaller_batch_and_a_missing_input_are_named(
        self, contract: ModelContract, graph: Any
    ) -> None:
        (bands,) = profile_problems(contract, graph, self._shapes(16, 64))
        assert "shapes of mel from (1, 16, 64)" in bands
        batches = list(profile_problems(contract, graph, self._shapes(8, 80)))
        assert batches[0] == "batches of mel from 1 to 8, config.pbtxt says 16"
        (missing,) = profile_problems(contract, graph, {"mel": self._shapes(16, 80)["mel"]})
        assert missing == "shapes for ['mel'], the graph has ['face', 'mel']"

    def _shapes(self, batch: int, bands: int) -> dict[str, Shapes]:
        rest = {"mel": (16, bands), "face": (96, 96, 3)}
        return {
            name: Shapes(*((rows, *dims) for rows in (1, batch // 2, batch)))
            for name, dims in rest.items()
        }


def test_the_check_reads_a_repository_and_names_what_is_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "toy"
    (folder / "1").mkdir(parents=True)
    tensor = 'name: "{}" data_type: TYPE_FP32 dims: [ 8, 8, 3 ]'
    config = f'name: "toy" backend: "onnxruntime" max_batch_size: 4 input {{ {tensor.format("x")} }} output {{ {tensor.format("y")} }}'
    (folder / "config.pbtxt").write_text(config)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 8, 8, 3))
    graph = model(node("Relu", "x"))
    graph.graph.output[0].CopyFrom(y)
    onnx.save(graph, str(folder / "1" / "model.onnx"))
    assert dispatch(["check", "--repository", str(tmp_path)]) == 0
    assert "toy: 1 operators in 1 nodes, ok" in capsys.readouterr().out
    write_accelerated(folder, {"x": Shapes((1, 8, 8, 3), (1, 8, 8, 3), (2, 8, 8, 3))})
    (folder / "config.pbtxt").write_text(config.replace('"y"', '"z"'))
    assert dispatch(["check", "--repository", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "outputs ['z'], the graph has ['y']" in printed
    assert "batches of x from 1 to 2, config.pbtxt says 4" in printed
