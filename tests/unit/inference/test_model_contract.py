"""The contract that `config.pbtxt` files write down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.inference import ContractError
from orchestrator.inference.model_contract import read_repository


def write_config(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(text)


def test_the_shipped_models_are_read_with_names_types_and_shapes() -> None:
    models = read_repository(MODEL_REPOSITORY).models
    (mel,), (motion,) = models["audio2motion"].inputs, models["audio2motion"].outputs
    assert (mel.name, mel.dtype, mel.dims) == ("mel", np.float32, (88, 80))
    assert (motion.name, motion.dims, motion.bytes_for(2)) == ("motion", (16, 7), 2 * 16 * 7 * 4)
    tpsm = models["tpsm"]
    assert (tpsm.backend, tpsm.instances) == ("python", 2)
    assert [tensor.optional for tensor in tpsm.inputs] == [True, True, True, False, True]
    assert tpsm.outputs[0].bytes_for(1) is None


def test_a_model_is_present_when_the_file_of_its_newest_version_is(tmp_path: Path) -> None:
    write_config(tmp_path / "net", 'name: "net" backend: "onnxruntime" max_batch_size: 4')
    contract = read_repository(tmp_path).models["net"]
    assert not contract.present
    for version in ("2", "10"):
        (tmp_path / "net" / version).mkdir()
    (tmp_path / "net" / "2" / "model.onnx").touch()
    assert not contract.present
    (tmp_path / "net" / "10" / "model.onnx").touch()
    assert contract.present
    assert contract.file == tmp_path / "net" / "10" / "model.onnx"
    assert read_repository(tmp_path).present() == ("net",)


def test_an_ensemble_is_its_configuration_and_names_its_members() -> None:
    speech = read_repository(MODEL_REPOSITORY).models["tpsm_speech"]
    assert speech.steps == ("audio2motion", "tpsm")
    assert speech.present
    assert speech.file == MODEL_REPOSITORY / "tpsm_speech" / "config.pbtxt"


@pytest.mark.parametrize(
    "text",
    [
        'name: "net" backend: ',
        'name: "other" backend: "python" max_batch_size: 1',
        'name: "net" backend: "python"',
        'name: "net" backend: "python" max_batch_size: 1 input [{ name: "words" data_type: TYPE_STRING dims: [1] }]',
    ],
    ids=["cut off", "another name", "no batches", "strings"],
)
def test_a_configuration_that_breaks_the_rules_is_refused(tmp_path: Path, text: str) -> None:
    write_config(tmp_path / "net", text)
    with pytest.raises(ContractError, match=f"^{tmp_path}/net/config.pbtxt: "):
        read_repository(tmp_path)


def test_a_configuration_that_is_no_text_is_named(tmp_path: Path) -> None:
    write_config(tmp_path / "net", "")
    (tmp_path / "net" / "config.pbtxt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ContractError, match=f"^{tmp_path}/net/config.pbtxt: "):
        read_repository(tmp_path)


def test_inputs_are_checked_for_names_shapes_types_and_batch() -> None:
    contract = read_repository(MODEL_REPOSITORY).models["tpsm"]
    motion, face = np.zeros((2, 11), np.float32), np.zeros((2, 32), np.uint8)
    assert contract.check({"motion": motion, "face": face}) == 2
    assert (
        contract.check({"motion": motion[:1], "face": face[:1], "maps": np.zeros((1, 9), np.uint8)})
        == 1
    )
    for wrong in (
        {"motion": motion},
        {"motion": motion, "face": face, "extra": face},
        {"motion": motion[:, :7], "face": face},
        {"motion": motion.astype(np.float64), "face": face},
        {"motion": motion, "face": face[:1]},
        {"motion": motion[:0], "face": face[:0]},
        {"motion": np.zeros((17, 11), np.float32), "face": np.zeros((17, 32), np.uint8)},
        {"motion": np.float32(1), "face": face},
    ):
        with pytest.raises(ContractError):
            contract.check(wrong)
