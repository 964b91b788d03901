"""Wav2Lip's graphs in ONNX Runtime against the modules they were made from, at several batch sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")

import onnxruntime as ort  # noqa: E402

from export.networks.wav2lip import onnx  # noqa: E402
from export.networks.wav2lip.generator import Generator  # noqa: E402
from export.networks.wav2lip.quality_discriminator import QualityDiscriminator  # noqa: E402
from export.networks.wav2lip.s3fd import S3fd  # noqa: E402
from export.networks.wav2lip.syncnet import SyncNet  # noqa: E402
from export.reference import Reference  # noqa: E402

RECORDS = Path(__file__).parents[2] / "data" / "reference" / "wav2lip"
EXPORTS: dict[str, tuple[Callable[..., Any], type[torch.nn.Module], str]] = {
    "generator": (onnx.generator_export, Generator, "generator"),
    "mouth": (onnx.mouth_export, Generator, "generator"),
    "syncnet": (onnx.syncnet_export, SyncNet, "syncnet"),
    "quality": (onnx.quality_export, QualityDiscriminator, "visual_quality_disc"),
    "s3fd": (onnx.detector_export, S3fd, "s3fd"),
}


@pytest.mark.filterwarnings("ignore")  # torch's TorchScript exporter is deprecated and says so many times
@pytest.mark.parametrize("name", EXPORTS)
def test_a_graph_equals_its_module(name: str, tmp_path: Path) -> None:
    make, network, key = EXPORTS[name]
    torch.manual_seed(1)
    export = make(Reference(RECORDS, seed=1).fill(network(), key).requires_grad_(False))
    names = (*export.input_names, *export.output_names)
    axes = {name: {0: "batch", **export.free_axes.get(name, {})} for name in names}
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        export.module,
        export.inputs,
        str(path),
        input_names=list(export.input_names),
        output_names=list(export.output_names),
        dynamic_axes=axes,
        opset_version=onnx.OPSET,
        dynamo=False,
    )
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 3, 8):
        inputs = [tensor.repeat(4, *[1] * (tensor.dim() - 1))[:batch] for tensor in export.inputs]
        outputs = export.module(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        feed = {name: tensor.numpy() for name, tensor in zip(export.input_names, inputs, strict=True)}
        for got, want, tolerance in zip(session.run(list(export.output_names), feed), outputs, export.tolerances, strict=True):
            assert got.dtype == want.numpy().dtype
            np.testing.assert_allclose(got.astype(np.float64), want.numpy().astype(np.float64), rtol=0, atol=tolerance)
