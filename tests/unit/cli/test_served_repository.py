"""`lipsync models` hands a Triton elsewhere the models that are present, and only those."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from clean_checkout import clean_checkout

from orchestrator.__main__ import main
from orchestrator.cli.served_repository import load_arguments
from orchestrator.core.config import ServiceConfig
from orchestrator.core.types import LipSyncModel
from orchestrator.inference.model_contract import read_repository

BUILT_IN = ["audio2motion", "tpsm", "tpsm_speech"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clean one with the network of wav2lip, kept where empty folders are not."""
    path = clean_checkout(tmp_path / "model_repository")
    shutil.rmtree(path / "tpsm_speech" / "1")
    (path / "wav2lip" / "1").mkdir()
    (path / "wav2lip" / "1" / "model.onnx").write_bytes(bytes(10))
    return path


def arguments_of(repository: Path, **settings: object) -> list[str]:
    config = ServiceConfig(model_repository=repository, **settings)  # type: ignore[arg-type]
    return load_arguments(config, read_repository(repository))


def test_the_load_list_has_the_models_that_are_there_the_default_models_first(
    checkout: Path,
) -> None:
    expected = [f"--load-model={name}" for name in (*BUILT_IN, "wav2lip")]
    assert arguments_of(checkout) == ["--model-control-mode=explicit", *expected]


def test_the_load_list_has_only_what_the_configuration_serves(checkout: Path) -> None:
    assert "--load-model=wav2lip" not in arguments_of(checkout, models=(LipSyncModel.TPSM,))


def test_an_ensemble_without_one_of_its_members_is_left_out(checkout: Path) -> None:
    shutil.rmtree(checkout / "audio2motion" / "1")
    assert "--load-model=tpsm_speech" not in arguments_of(checkout)


def test_the_command_prints_the_load_list_on_one_line(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--model-repository", str(checkout), "--load-arguments"]) == 0
    assert capsys.readouterr().out.split() == arguments_of(checkout)


def test_a_repository_is_written_with_every_file_of_the_models_that_are_there(
    checkout: Path, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    (checkout / "tpsm" / "1" / "__pycache__").mkdir()
    assert main(["models", "--model-repository", str(checkout), "--serve-from", str(served)]) == 0
    assert sorted(
        str(path.relative_to(served)) for path in served.rglob("*") if path.is_file()
    ) == [
        "audio2motion/1/model.onnx",
        "audio2motion/config.pbtxt",
        "tpsm/1/model.py",
        "tpsm/config.pbtxt",
        "tpsm_speech/config.pbtxt",
        "wav2lip/1/model.onnx",
        "wav2lip/config.pbtxt",
        "wav2lip/configs/tensorrt.pbtxt",
    ]
    assert (served / "tpsm_speech" / "1").is_dir()
    assert not any(path.is_symlink() for path in served.rglob("*"))
    assert (served / "wav2lip" / "configs" / "tensorrt.pbtxt").read_text() == (
        checkout / "wav2lip/configs/tensorrt.pbtxt"
    ).read_text()


def test_the_folder_of_tensorrts_engines_can_be_another(checkout: Path, tmp_path: Path) -> None:
    served = tmp_path / "served"
    arguments = [
        "models",
        "--model-repository",
        str(checkout),
        "--serve-from",
        str(served),
        "--tensorrt-cache",
        "/engines/of a\\b",
    ]
    with pytest.raises(SystemExit):
        main(arguments)
    assert main([*arguments[:-1], "/engines/here"]) == 0
    text = (served / "wav2lip" / "configs" / "tensorrt.pbtxt").read_text()
    assert text.count('cache_path" value: "/engines/here"') == 2
    assert "/var/cache" not in text


def test_a_folder_with_something_in_it_is_left_alone(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").write_text("mine")
    for folder in (tmp_path, tmp_path / "notes"):
        assert (
            main(["models", "--model-repository", str(checkout), "--serve-from", str(folder)]) == 1
        )
        assert (
            capsys.readouterr().err == f"lipsync: {folder} is not an empty folder: name a new one\n"
        )
