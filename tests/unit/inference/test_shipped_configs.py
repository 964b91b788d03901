"""The rules for a `config.pbtxt` (model_repository/README.md), held by every one that is
shipped.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from orchestrator.core.paths import MODEL_REPOSITORY

CONFIGS = {
    str(path.relative_to(MODEL_REPOSITORY)): path
    for path in sorted(
        (*MODEL_REPOSITORY.glob("*/config.pbtxt"), *MODEL_REPOSITORY.glob("*/configs/*.pbtxt"))
    )
}
GROUP = model_config_pb2.ModelInstanceGroup


def parsed(name: str) -> Any:
    return text_format.Parse(CONFIGS[name].read_text(), model_config_pb2.ModelConfig())


@pytest.mark.parametrize("name", CONFIGS)
def test_networks_take_one_thread_an_instance_on_whatever_device_there_is(name: str) -> None:
    config = parsed(name)
    if config.backend != "onnxruntime":
        assert "intra_op_thread_count" not in config.parameters
        return
    assert config.parameters["intra_op_thread_count"].string_value == "1"
    assert [group.kind for group in config.instance_group] == [GROUP.KIND_AUTO]


@pytest.mark.parametrize("name", CONFIGS)
def test_what_draws_by_opencv_is_not_multiplied_by_gpus(name: str) -> None:
    config = parsed(name)
    assert config.backend != "python" or [group.kind for group in config.instance_group] == [
        GROUP.KIND_CPU
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_batches_wait_a_millisecond_at_most_and_by_no_other_rule(name: str) -> None:
    batching = parsed(name).dynamic_batching
    assert batching.max_queue_delay_microseconds <= 1000
    assert {field.name for field, _ in batching.ListFields()} <= {"max_queue_delay_microseconds"}


@pytest.mark.parametrize("name", [name for name in CONFIGS if "tensorrt" in name])
def test_engines_are_kept_where_a_volume_can_be(name: str) -> None:
    (accelerator,) = parsed(name).optimization.execution_accelerators.gpu_execution_accelerator
    folders = {accelerator.parameters[f"trt_{cache}_cache_path"] for cache in ("engine", "timing")}
    assert folders == {"/var/cache/tensorrt"}
    assert accelerator.parameters["trt_force_sequential_engine_build"] == "1"
