"""Audio2Head's graphs in ONNX Runtime against the modules they were made from, at several batch sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")

import onnxruntime as ort  # noqa: E402

from export.networks.audio2head import onnx  # noqa: E402
from export.networks.audio2head.pipeline import Audio2Head  # noqa: E402
from export.networks.audio2head.verification import seeded_networks  # noqa: E402
from export.reference import Reference  # noqa: E402

RECORDS = Path(__file__).parents[2] / "data" / "reference" / "audio2head"
EXPORTS = {
    onnx.embedding_export: (1, 3, 8),
    onnx.pose_export: (1, 3, 8),
    onnx.picture_export: (1, 3, 8),
    onnx.frame_export: (1, 2),
    onnx.key_point_export: (1, 2),
}
"""Each with the batches that this machine is asked to run."""


@pytest.fixture(scope="module")
def networks() -> Audio2Head:
    return seeded_networks(Reference(RECORDS, seed=1))


@pytest.mark.filterwarnings("ignore")  # torch's TorchScript exporter is deprecated and says so many times
@pytest.mark.parametrize("make", EXPORTS, ids=lambda make: make.__name__)
def test_an_audio2head_graph_equals_its_module(make: object, networks: Audio2Head, tmp_path: Path) -> None:
    export = make(networks, max(EXPORTS[make]), torch.Generator().manual_seed(1))  # type: ignore[operator,index]
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        export.module.requires_grad_(False),
        tuple(tensor[:1] for tensor in export.inputs.values()),
        str(path),
        input_names=list(export.inputs),
        output_names=list(export.outputs),
        dynamic_axes={name: {0: "batch"} for name in (*export.inputs, *export.outputs)},
        opset_version=onnx.OPSET,
        dynamo=False,
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for batch in EXPORTS[make]:  # type: ignore[index]
        inputs = {name: tensor[:batch] for name, tensor in export.inputs.items()}
        outputs = export.module(*inputs.values())
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        results = session.run(list(export.outputs), {name: tensor.numpy() for name, tensor in inputs.items()})
        for (name, tolerance), got, want in zip(export.outputs.items(), results, outputs, strict=True):
            assert got.dtype == want.numpy().dtype, name
            np.testing.assert_allclose(got.astype(np.float64), want.numpy().astype(np.float64), rtol=0, atol=tolerance, err_msg=name)
