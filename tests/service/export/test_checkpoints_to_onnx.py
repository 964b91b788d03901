"""A checkpoint in its authors' layout, made of seeded weights, gives the very outputs that
`--seeded` gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="torch is not installed; it comes with the extra 'export'"
)
pytest.importorskip("onnx", reason="onnx is not installed; it comes with the extra 'export'")
onnxruntime = pytest.importorskip("onnxruntime")

from safetensors_file import save_safetensors  # noqa: E402

from export import command  # noqa: E402
from export.sources import seeded_networks  # noqa: E402

State = dict[str, Any]


def sadtalker(path: Path, state: State) -> None:
    """One safetensors file of all networks, each under a prefix."""
    save_safetensors(
        path,
        {f"audio2exp.{key}": value for key, value in state.items()}
        | {"kp_extractor.x": torch.zeros(1)},
    )


def sadtalker_mapping(path: Path, state: State) -> None:
    """What its trainer saved: the network, and its optimizer."""
    torch.save(
        {"mapping": state, "optimizer": {"state": {}, "param_groups": []}, "epoch": 1, "iter": 5},
        path,
    )


def audio2head(path: Path, state: State) -> None:
    """A pickle of the old format with one section a network."""
    torch.save(
        {"audio2pose": state, "kp_detector": {"x": torch.zeros(1)}},
        path,
        _use_new_zipfile_serialization=False,
    )


def tpsm(path: Path, state: State) -> None:
    """A zip archive with one section a network, and the optimizer."""
    torch.save(
        {
            "avd_network": state,
            "inpainting_network": {"x": torch.zeros(1)},
            "optimizer_avd": {"state": {}},
            "epoch": 99,
        },
        path,
    )


def wav2lip(path: Path, state: State) -> None:
    """What data-parallel training saved."""
    torch.save(
        {
            "state_dict": {f"module.{key}": value for key, value in state.items()},
            "optimizer": None,
            "global_step": 1,
        },
        path,
    )


CASES: dict[str, tuple[str, str, str, Callable[[Path, State], None]]] = {
    "sadtalker_expression": (
        "sadtalker",
        "audio2exp",
        "SadTalker_V0.0.2_256.safetensors",
        sadtalker,
    ),
    "sadtalker_key_points": (
        "sadtalker",
        "mapping70",
        "mapping_00229-model.pth.tar",
        sadtalker_mapping,
    ),
    "audio2head_pose": ("audio2head", "audio2pose", "audio2head.pth.tar", audio2head),
    "tpsm_neural_avd": ("tpsm-neural", "avd_network", "vox.pth.tar", tpsm),
    "wav2lip_quality": ("wav2lip", "visual_quality_disc", "visual_quality_disc.pth", wav2lip),
}


@pytest.mark.parametrize("network", CASES)
def test_a_checkpoint_and_its_seed_give_the_same_outputs(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, part, file, save = CASES[network]
    declared = import_module(f"{command.MODELS[model]}.sources").NETWORKS
    save(tmp_path / file, seeded_networks(declared, [part], seed=3)[part].module.state_dict())
    weights = {"seeded": ["--seeded", "3"], "loaded": ["--checkpoint", str(tmp_path / file)]}
    for name, arguments in weights.items():
        assert (
            command.main(
                model,
                [
                    *arguments,
                    "--networks",
                    network,
                    "--batches",
                    "1",
                    "--repository",
                    str(tmp_path / name),
                ],
            )
            == 0
        )
    assert f"{network}: {file} (SHA-256 " in capsys.readouterr().out
    seeded, loaded = (
        onnxruntime.InferenceSession(str(tmp_path / name / network / "1" / "model.onnx"))
        for name in weights
    )
    random = np.random.default_rng(1)
    rows = {each.name: sample(each, random) for each in seeded.get_inputs()}
    for ours, theirs in zip(loaded.run(None, rows), seeded.run(None, rows), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    (record,) = json.loads((tmp_path / "loaded" / network / "parity.json").read_text())["weights"]
    assert record["file"] == file
    assert record["tensors"] > 10


def sample(tensor: Any, random: np.random.Generator) -> Any:
    shape = [side if isinstance(side, int) else 2 for side in tensor.shape]
    return (
        random.integers(0, 256, shape).astype(np.uint8)
        if "uint8" in tensor.type
        else random.uniform(-1.0, 1.0, shape).astype(np.float32)
    )
