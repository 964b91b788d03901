"""The models of a repository, run in this process, behave as behind a server."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_onnx import write_projection

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.inference import Inference, InferenceError, NotCached, NotServed
from orchestrator.inference.embedded.self_test import self_test_of
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_contract import Repository, read_repository

SLEEPER = """
import time
import numpy as np
import triton_python_backend_utils as pb_utils
from orchestrator.core.dlpack import to_tensor
class TritonPythonModel:
    def execute(self, requests):
        time.sleep(0.05)
        arrays = [np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "x")).copy() for request in requests]
        return [pb_utils.InferenceResponse([to_tensor(pb_utils, "y", array)]) for array in arrays]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    shutil.copytree(MODEL_REPOSITORY / "tpsm", tmp_path / "tpsm")
    (tmp_path / "audio2motion").mkdir()
    shutil.copy(MODEL_REPOSITORY / "audio2motion" / "config.pbtxt", tmp_path / "audio2motion")
    write_projection(
        tmp_path / "audio2motion" / "1" / "model.onnx", rows=88, columns=80, steps=16, parameters=7
    )
    (tmp_path / "sleeper" / "1").mkdir(parents=True)
    tensors = 'input [{ name: "x" data_type: TYPE_FP32 dims: [1] }] output [{ name: "y" data_type: TYPE_FP32 dims: [1] }]'
    (tmp_path / "sleeper" / "config.pbtxt").write_text(
        f'name: "sleeper" backend: "python" max_batch_size: 1 {tensors}'
    )
    (tmp_path / "sleeper" / "1" / "model.py").write_text(SLEEPER)
    return read_repository(tmp_path)


def soon() -> float:
    return time.monotonic() + 20


@pytest.mark.parametrize("model", ["audio2motion", "tpsm"])
async def test_every_shipped_model_passes_its_self_test(repository: Repository, model: str) -> None:
    self_test = self_test_of(repository.models[model])
    assert self_test is not None
    async with LocalInference(repository) as inference:
        outputs = await inference.infer(model, self_test.make_inputs(), deadline=soon())
    assert self_test.passed(outputs)
    assert not self_test.passed({name: value + 1 for name, value in outputs.items()})
    assert not self_test.passed({name: value[:0] for name, value in outputs.items()})
    assert not self_test.passed({})


async def test_an_unknown_face_asks_for_its_maps(repository: Repository) -> None:
    inputs = {"motion": np.zeros((1, 11), np.float32), "face": np.full((1, 32), 9, np.uint8)}
    async with LocalInference(repository) as inference:
        with pytest.raises(NotCached):
            await inference.infer("tpsm", inputs, deadline=soon())


async def test_a_missing_model_and_a_broken_file_cannot_be_loaded(repository: Repository) -> None:
    repository.models["audio2motion"].file.write_bytes(b"no network")
    async with LocalInference(repository) as inference:
        assert await inference.ready("tpsm")
        assert not await inference.ready("nobody")
        for model in ("nobody", "audio2motion"):
            with pytest.raises(InferenceError) as raised:
                await inference.infer(
                    model, {"mel": np.zeros((1, 80, 80), np.float32)}, deadline=soon()
                )
            assert raised.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED


async def test_an_ensemble_is_for_servers(tmp_path: Path, repository: Repository) -> None:
    shutil.copytree(MODEL_REPOSITORY / "tpsm_speech", tmp_path / "tpsm_speech")
    self_test = self_test_of(read_repository(tmp_path).models["tpsm_speech"])
    assert self_test is not None
    async with LocalInference(read_repository(tmp_path)) as inference:
        assert not await inference.ready("tpsm_speech")
        with pytest.raises(NotServed):
            await inference.infer("tpsm_speech", self_test.make_inputs(), deadline=soon())


async def test_a_broken_contract_is_a_failed_generation(repository: Repository) -> None:
    async with LocalInference(repository) as inference:
        with pytest.raises(InferenceError) as raised:
            await inference.infer(
                "audio2motion", {"mel": np.zeros((1, 16, 80), np.float32)}, deadline=soon()
            )
    assert raised.value.code is LipSyncErrorCode.VIDEO_GENERATION_FAILED


async def test_a_deadline_ends_the_wait(repository: Repository) -> None:
    inference: Inference = LocalInference(repository)
    x = {"x": np.ones((1, 1), np.float32)}
    await inference.infer("sleeper", x, deadline=soon())
    for start_allowance_s in (-1.0, 0.01):
        with pytest.raises(InferenceError) as raised:
            await inference.infer("sleeper", x, deadline=time.monotonic() + start_allowance_s)
        assert raised.value.code is LipSyncErrorCode.TIMEOUT


async def test_requests_to_a_python_model_wait_for_one_another(repository: Repository) -> None:
    async with LocalInference(repository) as inference:
        answers = await asyncio.gather(
            *(
                inference.infer("sleeper", {"x": np.full((1, 1), i, np.float32)}, deadline=soon())
                for i in range(3)
            )
        )
    assert [answer["y"].item() for answer in answers] == [0, 1, 2]
