"""`lipsync serve` starts with what it has, and its log names what is missing before somebody is
refused.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from serving import serve

from orchestrator.core.paths import MODEL_REPOSITORY

PATIENCE_S = 120.0


def test_the_log_names_the_default_model_that_cannot_speak_and_the_storage_that_keeps_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "a file").touch()
    repository = tmp_path / "repository"
    for model in ("audio2motion", "tpsm", "tpsm_speech"):
        shutil.copytree(MODEL_REPOSITORY / model, repository / model)
    log = tmp_path / "serve.log"
    missing = f"storage: no face can be kept in {tmp_path}/a file"
    with serve(
        tmp_path,
        "--model-repository",
        str(repository),
        "--default-model",
        "wav2lip",
        "--storage",
        str(tmp_path / "a file"),
    ):
        given_up_s = time.monotonic() + PATIENCE_S
        while missing not in log.read_text():
            assert time.monotonic() < given_up_s, log.read_text()
            time.sleep(0.05)
    assert "default_model wav2lip cannot speak" in log.read_text()
    assert "python -m export wav2lip --checkpoint PATH" in log.read_text()
