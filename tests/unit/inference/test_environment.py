"""The server gets what it needs around it, or a reason why it cannot run here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import LipSyncError, LipSyncErrorCode
from orchestrator.inference import environment


def test_numpy_2_is_refused_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.1.0")
    with pytest.raises(LipSyncError, match="pip install 'numpy<2'") as raised:
        environment.refuse_numpy_2()
    assert raised.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED


def test_a_missing_wheel_is_named_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LipSyncError, match=r"lipsync-service\[embedded\]"):
        environment.find_wheel()


@pytest.mark.skipif(importlib.util.find_spec("pytriton") is None, reason="nvidia-pytriton is not installed")
def test_the_backend_folder_holds_what_the_server_looks_for(tmp_path: Path) -> None:
    wheel = environment.find_wheel()
    backends = environment.prepare_backends(wheel, tmp_path / "backends")
    assert (backends / "onnxruntime" / "model.py").is_file()
    assert os.access(backends / "python" / "triton_python_backend_stub", os.X_OK)
    variables = environment.server_environment(wheel)
    assert variables["PATH"].startswith(str(Path(sys.executable).parent))
    assert variables["LD_LIBRARY_PATH"].startswith(str(wheel.libraries))
    assert variables["OPENBLAS_NUM_THREADS"] == "1"


def test_starting_a_server_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'grpc', 'onnxruntime', 'google.protobuf'}"
    code = f"import sys, orchestrator.inference.process; print(sorted({heavy} & set(sys.modules)))"
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True).stdout.strip() == "[]"
