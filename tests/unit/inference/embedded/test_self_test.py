"""What a model has to answer is known beforehand, whoever finds it out, and small differences of
rounding are no fault.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import ROWS, add_rows

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.embedded import self_test_worker
from orchestrator.inference.embedded.self_test import (
    MAX_KEPT_VALUES,
    ExpectedOutput,
    SelfTest,
    self_test_of,
)
from orchestrator.inference.embedded.self_test_worker import measure_apart
from orchestrator.inference.local.inference import open_model
from orchestrator.inference.model_contract import ModelContract, read_model


@pytest.fixture
def network(tmp_path: Path) -> ModelContract:
    add_rows(tmp_path)
    return read_model(tmp_path / ROWS / "config.pbtxt")


def known(output: NDArray[Any]) -> SelfTest:
    return SelfTest(dict, {"frames": ExpectedOutput.of(output)})


async def test_a_process_of_its_own_finds_out_what_this_one_does(network: ModelContract) -> None:
    apart, here = await measure_apart(network), self_test_of(network)
    assert here is not None
    outputs = open_model(network).run(apart.make_inputs())
    assert apart.passed(outputs) and here.passed(outputs)
    assert not apart.passed({name: output + 1 for name, output in outputs.items()})
    assert apart.opening_cpu_s > 0.0


async def test_a_damaged_network_is_refused_with_the_reason(network: ModelContract) -> None:
    network.file.write_bytes(b"no network")
    with pytest.raises(InferenceError, match=r"model\.onnx.*[Pp]rotobuf") as raised:
        await measure_apart(network)
    assert raised.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED


async def test_a_network_that_never_answers_is_given_up(
    network: ModelContract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test_worker, "measurement_s", lambda contract: 0.01)
    with pytest.raises(InferenceError, match="did not answer a single request"):
        await measure_apart(network)


def test_a_few_bytes_of_a_picture_may_be_rounded_otherwise() -> None:
    picture = np.full((1, 64, 64, 3), 100, np.uint8)
    self_test = known(picture)
    tipped, darker, spoilt = picture.copy(), picture - 1, picture.copy()
    tipped[0, ::9, ::9] += 1
    spoilt[0, :8] = 0
    assert self_test.passed({"frames": tipped})
    assert not self_test.passed({"frames": darker})
    assert not self_test.passed({"frames": spoilt})


def test_little_is_kept_of_a_large_answer_and_it_reaches_from_end_to_end() -> None:
    volume = np.zeros((1, 32, 16, 64, 64), np.float32)
    self_test = known(volume)
    assert self_test.expected["frames"].values.size <= MAX_KEPT_VALUES
    for part in (volume[:, :1], volume[:, -1:]):
        part += 1.0
        assert not self_test.passed({"frames": volume})
        part -= 1.0
    assert self_test.passed({"frames": volume})


def test_a_network_may_answer_no_number_if_it_does_so_everywhere() -> None:
    nothing = np.full((1, 3), np.nan, np.float32)
    assert known(nothing).passed({"frames": nothing})
    assert not known(nothing).passed({"frames": np.zeros((1, 3), np.float32)})
