"""The server gets what it needs around it, or a reason why it cannot run here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from project_root import ROOT

from orchestrator.core.downloads import TRITONSERVER
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.inference.embedded import environment


def test_a_missing_server_is_named_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIPSYNC_DOWNLOADS", str(tmp_path))
    with pytest.raises(LipSyncError, match="run `lipsync fetch tritonserver`") as raised:
        environment.find_server()
    assert raised.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED


def test_a_server_that_lost_its_files_is_named_with_the_command_that_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIPSYNC_DOWNLOADS", str(tmp_path))
    TRITONSERVER.path().mkdir()
    with pytest.raises(LipSyncError, match="lipsync fetch tritonserver --again"):
        environment.find_server()


@pytest.mark.skipif(
    not TRITONSERVER.is_present(), reason="tritonserver is not fetched: lipsync fetch tritonserver"
)
def test_the_run_folder_leads_to_what_the_server_looks_for(tmp_path: Path) -> None:
    files = environment.find_server()
    (tmp_path / "models of mine").mkdir()
    for _ in range(2):  # a server that is started again finds it as it is
        environment.prepare_run_folder(files, tmp_path / "models of mine", tmp_path)
    assert (tmp_path / "backends" / "onnxruntime" / "model.py").is_file()
    assert os.access(tmp_path / "backends" / "python" / "triton_python_backend_stub", os.X_OK)
    assert (tmp_path / "models").resolve() == tmp_path / "models of mine"
    assert (
        sum(
            file.lstat().st_size
            for file in tmp_path.rglob("*")
            if file.is_file() and not file.is_symlink()
        )
        == 0
    )


@pytest.mark.skipif(
    not TRITONSERVER.is_present(), reason="tritonserver is not fetched: lipsync fetch tritonserver"
)
def test_search_paths_are_absolute_since_the_server_has_another_current_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"here{os.pathsep}{os.pathsep}.")
    monkeypatch.setenv("PATH", "")
    files = environment.find_server()
    variables = environment.server_environment(files)
    assert variables["PYTHONPATH"].split(os.pathsep)[1:] == [
        str(Path.cwd() / "here"),
        str(Path.cwd()),
    ]
    assert variables["PATH"] == os.pathsep.join(
        (str(Path(sys.executable).parent), *os.defpath.split(os.pathsep))
    )
    assert variables["LD_LIBRARY_PATH"].startswith(str(files.libraries))
    assert variables["OPENBLAS_NUM_THREADS"] == "1"
    assert variables["ORT_DISABLE_TELEMETRY"] == "1"


def test_starting_a_server_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'grpc', 'onnxruntime', 'google.protobuf'}"
    code = (
        f"import sys, orchestrator.inference.embedded.process; print(sorted({heavy} & "
        "set(sys.modules)))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
        ).stdout.strip()
        == "[]"
    )
