"""TPSM as it is served: the tensors of its `config.pbtxt` files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")

from export.networks.tpsm_neural import onnx  # noqa: E402
from export.networks.tpsm_neural.dense_motion import DenseMotionNetwork  # noqa: E402
from export.networks.tpsm_neural.inpainting import InpaintingNetwork  # noqa: E402
from export.networks.tpsm_neural.key_points import AvdNetwork, BackgroundPredictor, KeyPointDetector  # noqa: E402
from orchestrator.inference.repository import read_model  # noqa: E402

ROOT = Path(__file__).parents[4]
EXPORTS: dict[str, Callable[[], onnx.OnnxExport]] = {
    "tpsm_neural_key_points": lambda: onnx.key_points_export(KeyPointDetector()),
    "tpsm_neural_source": lambda: onnx.source_export(InpaintingNetwork()),
    "tpsm_neural_frames": lambda: onnx.frames_export(DenseMotionNetwork(), InpaintingNetwork()),
    "tpsm_neural_avd": lambda: onnx.avd_export(AvdNetwork()),
    "tpsm_neural_background": lambda: onnx.background_export(BackgroundPredictor()),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_a_configuration_names_the_tensors_of_its_network(name: str) -> None:
    contract = read_model(ROOT / "model_repository" / name / "config.pbtxt")
    with torch.device("meta"):
        export = EXPORTS[name]()
    with torch.no_grad():
        outputs = export.module.to("meta")(*(tensor.to("meta") for tensor in export.inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for promised, names, tensors in (
        (contract.inputs, export.input_names, export.inputs),
        (contract.outputs, export.output_names, outputs),
    ):
        assert [tensor.name for tensor in promised] == list(names)
        for tensor, actual in zip(promised, tensors, strict=True):
            assert str(actual.dtype) == f"torch.{tensor.dtype}"
            free = export.free_axes.get(tensor.name, {})
            assert tensor.dims == tuple(-1 if axis in free else side for axis, side in enumerate(actual.shape) if axis)
