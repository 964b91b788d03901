"""SadTalker's photo and renderer graphs against their modules on smaller pictures; the command's
own run takes minutes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip(
    "torch", reason="torch is not installed; it comes with the extra 'export'"
)
onnx = pytest.importorskip("onnx", reason="onnx is not installed; it comes with the extra 'export'")

from export.base import ExportSpec  # noqa: E402
from export.networks.sadtalker.onnx import GRAPHS  # noqa: E402
from export.networks.sadtalker.sources import NETWORKS  # noqa: E402
from export.parity import compare, onnx_runner  # noqa: E402
from export.sources import seeded_networks  # noqa: E402
from export.tensorrt_rules import find_problems  # noqa: E402
from export.to_onnx import write_onnx  # noqa: E402

HALF = 128
"""Pixels of the pictures here, half of the real ones: the renderer then costs a quarter."""


@pytest.mark.parametrize("name", ["sadtalker_photo", "sadtalker_renderer"])
def test_a_heavy_graph_equals_its_module_on_half_the_picture(name: str, tmp_path: Path) -> None:
    graph = next(graph for graph in GRAPHS if graph.name == name)
    filled = seeded_networks(NETWORKS, graph.parts, seed=1)
    spec = _halved(
        graph.spec(
            {part: filled[part].module for part in graph.parts}, 2, torch.Generator().manual_seed(0)
        )
    )
    write_onnx(spec, tmp_path / "model.onnx", {"weights": "seeded 1"})
    assert find_problems(onnx.load(str(tmp_path / "model.onnx"))) == []
    parity = compare(spec, onnx_runner(tmp_path / "model.onnx", list(spec.outputs)), (1, 2))
    assert [output.name for output in parity] == list(spec.outputs)


def _halved(spec: ExportSpec) -> ExportSpec:
    def half(name: str) -> torch.Tensor:
        tensor = spec.inputs[name]
        if name == "picture":
            return tensor[:, :HALF, :HALF]
        return tensor[..., : HALF // 4, : HALF // 4] if name.endswith("_volume") else tensor

    return replace(spec, inputs={name: half(name) for name in spec.inputs})
