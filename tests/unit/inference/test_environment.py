"""The server gets what it needs around it, or a reason why it cannot run here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.downloads import TRITONSERVER
from orchestrator.errors import LipSyncError, LipSyncErrorCode
from orchestrator.inference import environment


def test_a_missing_server_is_named_with_the_command_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPSYNC_DOWNLOADS", str(tmp_path))
    with pytest.raises(LipSyncError, match="run `lipsync fetch tritonserver`") as raised:
        environment.find_server()
    assert raised.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED


def test_a_server_that_lost_its_files_is_named_with_the_command_that_replaces_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPSYNC_DOWNLOADS", str(tmp_path))
    TRITONSERVER.path().mkdir()
    with pytest.raises(LipSyncError, match="lipsync fetch tritonserver --again"):
        environment.find_server()


@pytest.mark.skipif(not TRITONSERVER.is_present(), reason="tritonserver is not fetched: lipsync fetch tritonserver")
def test_the_backend_folder_holds_what_the_server_looks_for(tmp_path: Path) -> None:
    files = environment.find_server()
    backends = environment.prepare_backends(files, tmp_path / "backends")
    assert (backends / "onnxruntime" / "model.py").is_file()
    assert os.access(backends / "python" / "triton_python_backend_stub", os.X_OK)
    variables = environment.server_environment(files)
    assert variables["PATH"].startswith(str(Path(sys.executable).parent))
    assert variables["LD_LIBRARY_PATH"].startswith(str(files.libraries))
    assert variables["OPENBLAS_NUM_THREADS"] == "1"


def test_starting_a_server_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'grpc', 'onnxruntime', 'google.protobuf'}"
    code = f"import sys, orchestrator.inference.process; print(sorted({heavy} & set(sys.modules)))"
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True).stdout.strip() == "[]"
