"""`lipsync serve` says in a line why it cannot serve, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project_root import ROOT

from orchestrator.core.downloads import TRITONSERVER
from orchestrator.core.paths import MODEL_REPOSITORY

NO_TRITON = ("--triton-url", "127.0.0.1:9")
"""Nobody answers there: nothing gets so far as to ask."""

EMBEDDED = pytest.param(
    (),
    id="embedded",
    marks=pytest.mark.skipif(
        not TRITONSERVER.is_present(),
        reason="tritonserver is not fetched: lipsync fetch tritonserver",
    ),
)


def refusal(tmp_path: Path, *flags: object, **environment: str) -> str:
    """What it says on the standard error."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [
        sys.executable,
        "-m",
        "orchestrator",
        "serve",
        "--port",
        "0",
        "--storage",
        str(tmp_path / "storage"),
        *map(str, flags),
    ]
    env = os.environ | environment | {"TMPDIR": str(temporary)}
    run = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    assert list(temporary.glob("lipsync-*")) == []
    return run.stderr


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A repository in which one configuration cannot be read."""
    repository = tmp_path / "repository"
    shutil.copytree(MODEL_REPOSITORY / "audio2motion", repository / "audio2motion")
    (repository / "audio2motion" / "config.pbtxt").write_text('name: "audio2motion" garbage: 1')
    return repository


@pytest.mark.parametrize("triton", [EMBEDDED, pytest.param(NO_TRITON, id="elsewhere")])
def test_a_configuration_of_a_model_that_cannot_be_read_is_named(
    tmp_path: Path, broken: Path, triton: tuple[str, ...]
) -> None:
    said = refusal(tmp_path, "--model-repository", broken, *triton)
    assert said.splitlines()[-2].startswith(f"lipsync: {broken}/audio2motion/config.pbtxt: ")
    assert "garbage" in said


@pytest.mark.parametrize("triton", [EMBEDDED, pytest.param(NO_TRITON, id="elsewhere")])
def test_a_configuration_that_is_no_text_is_named(
    tmp_path: Path, broken: Path, triton: tuple[str, ...]
) -> None:
    (broken / "audio2motion" / "config.pbtxt").write_bytes(b"\xff\xfe\x00")
    assert f"lipsync: {broken}/audio2motion/config.pbtxt: " in refusal(
        tmp_path, "--model-repository", broken, *triton
    )


def test_a_repository_that_is_no_folder_is_named(tmp_path: Path) -> None:
    said = refusal(tmp_path, "--model-repository", tmp_path / "nowhere")
    assert said.startswith(f"lipsync: model_repository: {tmp_path}/nowhere is no folder")


@pytest.mark.parametrize(
    ("flags", "settings"),
    [(("--workers", "2"), {}), ((), {"LIPSYNC_WORKERS": "2"})],
    ids=["flag", "environment"],
)
def test_workers_are_gone_and_it_is_said_what_takes_their_place(
    tmp_path: Path, flags: tuple[str, ...], settings: dict[str, str]
) -> None:
    said = refusal(tmp_path, *flags, **settings)
    assert said.startswith(
        "lipsync: workers was removed: run several instances behind a gateway (docs/deploy.md)"
    )
