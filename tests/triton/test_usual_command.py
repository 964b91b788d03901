"""A checkout served by `tritonserver` as NVIDIA's container starts it: default control mode, strict
readiness, one bad model ends it.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

import numpy as np
import pytest
from clean_checkout import clean_checkout
from plain_triton import plain_triton
from watched_server import ANSWER_S

from orchestrator.__main__ import main
from orchestrator.cli.startup_models import BUILT_IN
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.triton.inference import TritonInference


def free() -> tuple[int, int, int]:
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        for each in (first, second, third):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1], third.getsockname()[1]


async def test_the_written_repository_is_ready_by_the_usual_command(tmp_path: Path) -> None:
    checkout, served = clean_checkout(tmp_path / "checkout"), tmp_path / "served"
    assert main(["models", "--model-repository", str(checkout), "--serve-from", str(served)]) == 0
    async with (
        plain_triton(served, "127.0.0.1", free()) as server,  # 200 by /v2/health/ready
        TritonInference([server.url], read_repository(checkout)) as inference,
    ):
        assert [await inference.ready(name) for name in BUILT_IN] == [True] * len(BUILT_IN)
        mel = np.zeros((1, 88, 80), np.float32)
        answer = await inference.infer(
            "audio2motion", {"mel": mel}, deadline=time.monotonic() + ANSWER_S
        )
        assert answer["motion"].shape == (1, 16, 7)


async def test_a_clean_checkout_is_ready_by_the_load_list_and_ends_the_server_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = clean_checkout(tmp_path / "checkout")
    with pytest.raises(RuntimeError, match="failed to load all models"):
        async with plain_triton(checkout, "127.0.0.1", free()):
            pass
    capsys.readouterr()
    assert main(["models", "--model-repository", str(checkout), "--load-arguments"]) == 0
    async with plain_triton(
        checkout, "127.0.0.1", free(), *capsys.readouterr().out.split()
    ) as server:
        assert server.process.poll() is None
