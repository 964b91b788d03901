"""`python -m export NAME --seeded N` writes networks that the service's own client can run; the
heavy renderers have tests of their own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from project_root import ROOT

pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")
onnx = pytest.importorskip("onnx", reason="onnx is not installed; it comes with the extra 'export'")

from orchestrator.inference.local.inference import LocalInference  # noqa: E402
from orchestrator.inference.model_contract import Repository, read_repository  # noqa: E402

QUICK = {
    "wav2lip": "wav2lip,wav2lip_syncnet,wav2lip_quality,wav2lip_s3fd",
    "sadtalker": "sadtalker_expression,sadtalker_pose,sadtalker_key_points,sadtalker_key_points_full,sadtalker_reconstruction",
    "audio2head": "audio2head_embedding,audio2head_pose,audio2head_picture,audio2head_frame",
    "tpsm-neural": "tpsm_neural_key_points,tpsm_neural_avd,tpsm_neural_background,tpsm_neural_source",
}


def export(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "export", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
    )


@pytest.mark.parametrize("model", QUICK)
async def test_the_command_exports_what_the_service_can_run(model: str, tmp_path: Path) -> None:
    done = export(
        model,
        "--seeded",
        "1",
        "--repository",
        str(tmp_path),
        "--networks",
        QUICK[model],
        "--batches",
        "1,3",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    repository = read_repository(tmp_path)
    assert set(repository.present()) == set(QUICK[model].split(","))
    async with LocalInference(repository) as inference:
        for name in repository.present():
            await _answers(inference, repository, name)
            _says_that_it_is_seeded(tmp_path / name, done.stdout)
    checked = export("check", "--repository", str(tmp_path))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert all(f"{name}: " in checked.stdout for name in repository.models)


async def test_half_precision_keeps_the_contract_and_half_the_file(tmp_path: Path) -> None:
    arguments = [
        "tpsm-neural",
        "--seeded",
        "1",
        "--networks",
        "tpsm_neural_avd",
        "--batches",
        "1,3",
        "--repository",
    ]
    sizes = {}
    for precision in ("fp32", "fp16"):
        done = export(*arguments, str(tmp_path / precision), "--precision", precision)
        assert done.returncode == 0, done.stdout + done.stderr
        sizes[precision] = (
            (tmp_path / precision / "tpsm_neural_avd" / "1" / "model.onnx").stat().st_size
        )
    assert sizes["fp16"] < 0.6 * sizes["fp32"]
    repository = read_repository(tmp_path / "fp16")
    async with LocalInference(repository) as inference:
        await _answers(inference, repository, "tpsm_neural_avd")
    report = json.loads((tmp_path / "fp16" / "tpsm_neural_avd" / "parity.json").read_text())
    assert report["precision"] == "fp16"
    assert all(output["error"] <= output["tolerance"] == 5e-3 for output in report["outputs"])


async def _answers(inference: LocalInference, repository: Repository, name: str) -> None:
    contract, random = repository.models[name], np.random.default_rng(1)
    inputs = {
        tensor.name: (
            random.random((2, *(128 if dim < 0 else dim for dim in tensor.dims))) * 0.5
        ).astype(tensor.dtype)
        for tensor in contract.inputs
    }
    outputs = await inference.infer(
        name, inputs, deadline=asyncio.get_running_loop().time() + 600.0
    )
    for tensor in contract.outputs:
        tensor.check(outputs[tensor.name])
        assert len(outputs[tensor.name]) == 2


def _says_that_it_is_seeded(folder: Path, printed: str) -> None:
    assert f"{folder.name}: seeded 1 (random weights, for tests only)" in printed
    report = json.loads((folder / "parity.json").read_text())
    assert (report["seeded"], report["opset"]) == (1, 18)
    assert all(output["error"] <= output["tolerance"] for output in report["outputs"])
    model = onnx.load(str(folder / "1" / "model.onnx"))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert "seeded 1" in properties["weights"]
    assert "seeded 1" in model.graph.name
    dims = [
        dim
        for value in (*model.graph.input, *model.graph.output)
        for dim in value.type.tensor_type.shape.dim
    ]
    assert all(dim.dim_value > 0 or dim.dim_param for dim in dims)
    assert not any(str(ROOT) in node.doc_string for node in model.graph.node)


def test_a_checkpoint_of_wav2lip_is_recorded_with_its_sum_and_licence(tmp_path: Path) -> None:
    import torch

    from export.networks.wav2lip.sources import NETWORKS
    from export.sources import seeded_networks

    generator = seeded_networks(NETWORKS, ["generator"], seed=2)["generator"].module
    torch.save(
        {
            "state_dict": {f"module.{key}": value for key, value in generator.state_dict().items()},
            "global_step": 1,
        },
        tmp_path / "gan.pth",
    )
    done = export(
        "wav2lip",
        "--checkpoint",
        str(tmp_path / "gan.pth"),
        "--repository",
        str(tmp_path / "models"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wav2lip_syncnet: skipped: no given checkpoint" in done.stdout
    report = json.loads((tmp_path / "models" / "wav2lip" / "parity.json").read_text())
    assert report["seeded"] is None
    (weights,) = report["weights"]
    assert weights["file"] == "gan.pth"
    assert len(weights["sha256"]) == 64
    assert "non-commercial" in weights["licence"]
    properties = {
        entry.key: entry.value
        for entry in onnx.load(
            str(tmp_path / "models" / "wav2lip" / "1" / "model.onnx")
        ).metadata_props
    }
    assert properties["weights_sha256"] == weights["sha256"]
