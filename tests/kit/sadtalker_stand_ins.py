"""Light stand-ins for SadTalker's photo encoder and renderer, under their real contracts: a frame
is the photo's mean colour.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from orchestrator.core.paths import MODEL_REPOSITORY

PICTURE = 256
BRIGHTER = 60.0
"""Grey levels that a frame gains per unit of its mean key point."""


def add_stand_ins(repository: Path) -> None:
    """`sadtalker_photo` and `sadtalker_renderer`; needs the package `onnx`."""
    for name, network in (("sadtalker_photo", _photo()), ("sadtalker_renderer", _renderer())):
        folder = repository / name
        (folder / "1").mkdir(parents=True)
        shutil.copy(MODEL_REPOSITORY / name / "config.pbtxt", folder)
        (folder / "1" / "model.onnx").write_bytes(network)


def _photo() -> bytes:
    """The mean colour goes into the first three channels of the compressed volume; all else is
    zero.
    """
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["picture"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels", "sides"], ["colour"], keepdims=0),
        helper.make_node("Pad", ["colour", "one_more"], ["four"]),
        helper.make_node("Reshape", ["four", "as_volume"], ["thin"]),
        helper.make_node("ConstantOfShape", ["compressed_shape"], ["compressed_zeros"]),
        helper.make_node("Add", ["thin", "compressed_zeros"], ["compressed_volume"]),
        helper.make_node("ReduceMin", ["thin", "all_but_batch"], ["zero"], keepdims=1),
        helper.make_node("ConstantOfShape", ["feature_shape"], ["feature_zeros"]),
        helper.make_node("Add", ["zero", "feature_zeros"], ["feature_volume"]),
        helper.make_node("Reshape", ["zero", "as_points"], ["point"]),
        helper.make_node("ConstantOfShape", ["points_shape"], ["point_zeros"]),
        helper.make_node("Add", ["point", "point_zeros"], ["canonical_key_points"]),
    ]
    numbers = {
        "sides": [1, 2],
        "one_more": [0, 0, 0, 1],
        "as_volume": [-1, 4, 1, 1, 1],
        "all_but_batch": [1, 2, 3, 4],
        "as_points": [-1, 1, 1],
        "compressed_shape": [1, 4, 16, 64, 64],
        "feature_shape": [1, 32, 16, 64, 64],
        "points_shape": [1, 15, 3],
    }
    inputs = [
        helper.make_tensor_value_info("picture", TensorProto.UINT8, ["N", PICTURE, PICTURE, 3])
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *numbers[shape][1:]])
        for name, shape in (
            ("feature_volume", "feature_shape"),
            ("compressed_volume", "compressed_shape"),
            ("canonical_key_points", "points_shape"),
        )
    ]
    return _network(nodes, numbers, inputs, outputs)


def _renderer() -> bytes:
    """The colour again, brighter or darker by the frame's key points."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["compressed_volume", "volume"], ["four"], keepdims=0),
        helper.make_node("Slice", ["four", "first", "third", "channels"], ["colour"]),
        helper.make_node("Reshape", ["colour", "as_picture"], ["flat"]),
        helper.make_node("ReduceMean", ["driving_key_points", "points"], ["moved"], keepdims=0),
        helper.make_node("Unsqueeze", ["moved", "sides"], ["per_frame"]),
        helper.make_node("Mul", ["per_frame", "brighter"], ["light"]),
        helper.make_node("Add", ["flat", "light"], ["lit"]),
        helper.make_node("ConstantOfShape", ["picture_shape"], ["empty"]),
        helper.make_node("Add", ["lit", "empty"], ["drawn"]),
        helper.make_node("Clip", ["drawn", "black", "white"], ["levels"]),
        helper.make_node("Cast", ["levels"], ["frames"], to=TensorProto.UINT8),
    ]
    numbers = {
        "volume": [2, 3, 4],
        "first": [0],
        "third": [3],
        "channels": [1],
        "as_picture": [-1, 1, 1, 1, 3],
        "points": [2, 3],
        "sides": [2, 3, 4],
        "picture_shape": [1, 1, PICTURE, PICTURE, 3],
    }
    shapes = {
        "feature_volume": ["N", 32, 16, 64, 64],
        "compressed_volume": ["N", 4, 16, 64, 64],
        "source_key_points": ["N", 15, 3],
        "driving_key_points": ["N", "F", 15, 3],
    }
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    outputs = [
        helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", "F", PICTURE, PICTURE, 3])
    ]
    return _network(nodes, numbers, inputs, outputs)


def _network(
    nodes: list[object], numbers: dict[str, list[int]], inputs: list[object], outputs: list[object]
) -> bytes:
    from onnx import checker, helper, numpy_helper

    weights = [
        numpy_helper.from_array(np.array(values, np.int64), name)
        for name, values in numbers.items()
    ]
    for name, value in (("brighter", BRIGHTER), ("black", 0.0), ("white", 255.0)):
        weights.append(numpy_helper.from_array(np.array(value, np.float32), name))
    used = {name for node in nodes for name in node.input}  # type: ignore[attr-defined]
    graph = helper.make_graph(
        nodes, "stand-in", inputs, outputs, [weight for weight in weights if weight.name in used]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
