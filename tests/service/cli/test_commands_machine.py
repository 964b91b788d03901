"""`lipsync models`, `doctor` and `bench` run for real: what they say is what this machine has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project_root import ROOT
from tiny_onnx import write_projection

from orchestrator.__main__ import main
from orchestrator.core.downloads import TRITONSERVER
from orchestrator.core.paths import MODEL_REPOSITORY

needs_triton = pytest.mark.skipif(
    not TRITONSERVER.is_present(), reason="tritonserver is not fetched: lipsync fetch tritonserver"
)


def _lipsync(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestrator", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=600, check=False
    )


def _rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}


def test_models_lists_every_model_with_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    rows = _rows(capsys.readouterr().out)
    assert rows["tpsm"][1:] == ["yes", "112.5", "ms", "128", "px", "ours", "ours", "yes"]
    assert rows["static"][1] == "yes"


def test_models_says_what_a_public_model_lacks_and_what_commercial_use_allows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--model-repository", str(tmp_path)]) == 0
    row = _rows(capsys.readouterr().out)["wav2lip"]
    assert " ".join(row).endswith("no missing " + " ".join(row).split(" no missing ")[1])
    assert "python -m export wav2lip --checkpoint PATH" in " ".join(row)
    assert main(["models", "--commercial-safe"]) == 0
    rows = _rows(capsys.readouterr().out)
    assert "wav2lip is refused by commercial_safe (code: ours; weights: research only)" in " ".join(
        rows["wav2lip"]
    )
    assert rows["wav2lip"][1] == "no"
    assert rows["tpsm"][1] == "yes"


def test_models_says_whose_weights_are_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(
        MODEL_REPOSITORY / "wav2lip", tmp_path / "wav2lip", ignore=shutil.ignore_patterns("1")
    )
    label = "seeded 1 (random weights, for tests only)"
    properties = {"weights": label, "origin": "random numbers by a rule, for tests only"}
    write_projection(
        tmp_path / "wav2lip" / "1" / "model.onnx",
        rows=2,
        columns=2,
        steps=2,
        parameters=1,
        properties=properties,
    )
    assert main(["models", "--model-repository", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"wav2lip {label}  yes" in said
    assert re.search(
        rf"^wav2lip +{re.escape(label)} +random numbers by a rule, for tests only +-$",
        said,
        re.MULTILINE,
    )


@pytest.mark.parametrize(
    "arguments",
    [["--default-model", "wav2lip"], ["--fallback-chain", "tpsm,wav2lip,sadtalker,static"]],
)
def test_serve_refuses_a_model_that_is_not_for_commercial_use(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--commercial-safe", *arguments]) == 1
    said = capsys.readouterr().err
    assert "wav2lip is refused by commercial_safe (code: ours; weights: research only)" in said
    assert "; use tpsm" in said


def test_models_says_what_an_empty_repository_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--model-repository", str(tmp_path)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("tpsm "))
    assert "no" in line.split() and "python -m export audio2motion" in line


def test_a_bad_configuration_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lipsync.toml"
    file.write_text("prot = 80")
    for command in ("models", "doctor", "bench"):
        assert main([command, "--config", str(file)]) == 1
        assert "did you mean 'port'" in capsys.readouterr().err


@needs_triton
def test_the_doctor_tries_everything_and_finds_a_machine_that_can_serve(tmp_path: Path) -> None:
    done = _lipsync("doctor", "--port", 0, "--storage", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "started, and audio2motion, tpsm answered as they should" in done.stdout
    assert re.search(
        r"^ok +live faces +\d+ can speak at once at 20 frames a second \(tpsm takes [\d.]+ ms of ",
        done.stdout,
        re.MULTILINE,
    )
    assert "\033" not in done.stdout
    assert done.stdout.rstrip().endswith("`lipsync serve` can run.")


@needs_triton
def test_the_doctor_names_what_is_missing_and_what_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").mkdir()
    arguments = [
        "doctor",
        "--host",
        "192.0.2.1",
        "--insecure",
        "--storage",
        str(tmp_path),
        "--model-repository",
        str(tmp_path / "models"),
    ]
    assert main(arguments) == 1
    said = capsys.readouterr().out
    assert "-> python -m export audio2motion" in said
    assert "-> lipsync serve --port 0" in said
    assert "cannot run as it should: port 8080, model files, Triton answers" in said


@needs_triton
def test_bench_measures_live_sessions_of_a_service_of_its_own_whoever_else_is_let_in(
    tmp_path: Path,
) -> None:
    config = tmp_path / "lipsync.toml"
    config.write_text('[auth.tokens]\nalpha = "ann"')
    load = ("--sessions", 2, "--seconds", 1.5, "--size", 128, "--format", "h264")
    done = _lipsync("bench", *load, "--storage", tmp_path, "--config", config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 of 60, 2 of 2 sessions complete" in done.stdout
    for words in (
        "look-ahead sent -> frame",
        "backend of audio2motion",
        "whole service",
        "generate",
        "drawing at 128 px",
    ):
        assert words in done.stdout


def test_bench_says_why_the_service_did_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "lipsync.toml"
    config.write_text('host = "192.0.2.1"\ninsecure = true')
    assert (
        main(
            [
                "bench",
                "--config",
                str(config),
                "--sessions",
                "1",
                "--seconds",
                "1",
                "--storage",
                str(tmp_path),
            ]
        )
        == 1
    )
    assert "the service did not start" in capsys.readouterr().err
