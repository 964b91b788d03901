"""One function opens what the configuration names, and imports no more than that needs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from closed_port import closed_port

from orchestrator.core.config import ServiceConfig
from orchestrator.inference import ContractError
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.open_inference import open_inference
from orchestrator.inference.triton.inference import TritonInference

CONFIG = ServiceConfig()


async def test_without_a_server_the_models_run_in_this_process() -> None:
    async with open_inference(CONFIG) as inference:
        assert isinstance(inference, LocalInference)
        assert await inference.ready("tpsm")


async def test_named_servers_are_used_even_where_an_embedded_one_is_given() -> None:
    unused = EmbeddedTriton(CONFIG.model_repository, ())
    with closed_port() as port:
        config = replace(CONFIG, triton_url=f"127.0.0.1:{port}")
        async with open_inference(config, unused) as inference:
            assert isinstance(inference, TritonInference)
            assert not await inference.ready("tpsm")
    assert unused.life == 0


async def test_a_broken_repository_is_a_contract_error(tmp_path: Path) -> None:
    (tmp_path / "eye" / "1").mkdir(parents=True)
    (tmp_path / "eye" / "config.pbtxt").write_text("input [")
    with pytest.raises(ContractError):
        async with open_inference(replace(CONFIG, model_repository=tmp_path)):
            pass


def test_importing_it_imports_neither_grpc_nor_onnxruntime() -> None:
    program = (
        "import sys, orchestrator.inference.open_inference; "
        "print(*{'grpc', 'onnxruntime', 'tritonclient'} & sys.modules.keys())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == ""
