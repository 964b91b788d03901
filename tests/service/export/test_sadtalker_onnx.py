"""SadTalker's graphs in ONNX Runtime against the modules they were made from, at several batch sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")

import onnxruntime as ort  # noqa: E402

from export.networks.sadtalker import onnx  # noqa: E402
from export.networks.sadtalker.catalogue import NETWORKS  # noqa: E402
from export.networks.sadtalker.onnx import GraphExport, graph_exports  # noqa: E402

HALF = 128
"""Pixels of the pictures here, half of the real ones: the renderer then costs a quarter."""

BATCHES = {
    "sadtalker_photo": (1, 3),
    "sadtalker_renderer": (1, 2),
    "sadtalker_key_points": (1, 3, 8),
    "sadtalker_key_points_full": (1, 3, 8),
    "sadtalker_expression": (1, 3, 8),
    "sadtalker_pose": (1, 3, 8),
    "sadtalker_reconstruction": (1, 3, 8),
}
"""Rows per graph."""


@pytest.fixture(scope="module")
def networks() -> dict[str, torch.nn.Module]:
    """With torch's own random weights; running statistics and spectral norms as they start would hide mistakes."""
    torch.manual_seed(1)
    built = {name: make().eval().requires_grad_(False) for name, make in NETWORKS.items()}
    for network in built.values():
        for key, tensor in network.state_dict().items():
            if key.endswith(("running_mean", "running_var", "weight_orig", "weight_u", "weight_v")):
                tensor.uniform_(0.5, 1.5) if key.endswith("running_var") else tensor.normal_(std=0.1)
    return built


@pytest.mark.filterwarnings("ignore")  # torch's TorchScript exporter is deprecated and says so many times
@pytest.mark.parametrize("name", BATCHES)
def test_a_graph_equals_its_module(networks: dict[str, torch.nn.Module], name: str, tmp_path: Path) -> None:
    export = next(export for export in graph_exports(networks, batch=max(BATCHES[name])) if export.name == name)
    inputs = {name: _halved(export, name) for name in export.inputs}
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        export.module,
        tuple(tensor[:2] for tensor in inputs.values()),
        str(path),
        input_names=list(inputs),
        output_names=list(export.outputs),
        dynamic_axes=export.dynamic_axes,
        opset_version=onnx.OPSET,
        dynamo=False,
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for batch in BATCHES[name]:
        rows = {name: tensor[:batch] for name, tensor in inputs.items()}
        if "driving_key_points" in rows:
            rows["driving_key_points"] = rows["driving_key_points"][:, : 3 - batch]  # one row of two frames, two rows of one
        wanted = export.module(*rows.values())
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        got = session.run(list(export.outputs), {name: tensor.numpy() for name, tensor in rows.items()})
        for ours, theirs, (output, tolerance) in zip(got, wanted, export.outputs.items(), strict=True):
            assert (ours.shape, ours.dtype) == (tuple(theirs.shape), theirs.numpy().dtype), output
            np.testing.assert_allclose(ours.astype(np.float64), theirs.numpy().astype(np.float64), rtol=0, atol=tolerance)


def _halved(export: GraphExport, name: str) -> torch.Tensor:
    tensor = export.inputs[name]
    if name == "picture":
        return tensor[:, :HALF, :HALF]
    return tensor[..., : HALF // 4, : HALF // 4] if name.endswith("_volume") else tensor
