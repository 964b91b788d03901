"""The committed configurations for TensorRT promise what `config.pbtxt` promises, and shapes for
every batch of it; without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.tensorrt_config import ACCELERATED_CONFIG, read_profile
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.inference.model_contract import read_model

FOLDERS = {
    path.parent.parent.name: path.parent.parent
    for path in sorted(MODEL_REPOSITORY.glob(f"*/configs/{ACCELERATED_CONFIG}"))
}


def parsed(config: Path) -> Any:
    return text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())


def test_every_exported_network_has_one() -> None:
    exported = {path.parent.name for path in MODEL_REPOSITORY.glob("*/config.pbtxt")} - {
        "audio2motion",
        "audio2viseme",
        "tpsm",
        "tpsm_speech",
    }
    assert FOLDERS.keys() == exported


@pytest.mark.parametrize("name", FOLDERS)
def test_it_is_the_same_contract_with_an_accelerator(name: str) -> None:
    accelerated = parsed(FOLDERS[name] / "configs" / ACCELERATED_CONFIG)
    (accelerator,) = accelerated.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["trt_engine_cache_prefix"] == name
    accelerated.ClearField("optimization")
    assert accelerated == parsed(FOLDERS[name] / "config.pbtxt")


@pytest.mark.parametrize("name", FOLDERS)
def test_its_shapes_are_the_inputs_for_every_batch(name: str) -> None:
    contract, shapes = (
        read_model(FOLDERS[name] / "config.pbtxt"),
        read_profile(FOLDERS[name] / "configs" / ACCELERATED_CONFIG),
    )
    assert list(shapes) == [tensor.name for tensor in contract.inputs]
    for tensor in contract.inputs:
        least, usual, most = shapes[tensor.name]
        assert (least[0], most[0]) == (1, contract.max_batch_size)
        assert all(
            low <= middle <= high for low, middle, high in zip(least, usual, most, strict=True)
        )
        assert all(
            dim < 0 or dim == low == high
            for dim, low, high in zip(tensor.dims, least[1:], most[1:], strict=True)
        ), tensor.name
