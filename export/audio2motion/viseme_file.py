"""Write the viseme head as a separate ONNX file, so that live sessions do not pay for it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from export.audio2motion.network import STEPS, WINDOW_FRAMES, MouthNet
from export.audio2motion.onnx_file import OPSET, folded
from export.audio2motion.targets import VISEME_NAMES

FILE: Final = Path("model_repository/audio2viseme/1/model.onnx")


class _Visemes(nn.Module):
    """Log-mel `[batch, 88, 80]` -> probabilities `[batch, 16, 15]`."""

    def __init__(self, network: MouthNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network.both(mel)[1], dim=-1)


def export(network: MouthNet, path: Path = FILE) -> float:
    """Write `path`; returns the largest difference to torch over random windows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    module = _Visemes(folded(network)).eval()
    torch.onnx.export(
        module, (torch.zeros(2, WINDOW_FRAMES, 80),), path,
        input_names=["mel"], output_names=["visemes"], opset_version=OPSET,
        dynamic_axes={"mel": {0: "batch"}, "visemes": {0: "batch"}}, dynamo=False,
    )  # fmt: skip
    model = onnx.load(path)
    for axis, size in ((1, STEPS), (2, len(VISEME_NAMES))):
        model.graph.output[0].type.tensor_type.shape.dim[axis].dim_value = size
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return _parity(_Visemes(network).eval(), path)


def _parity(module: nn.Module, path: Path) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    mel = np.random.default_rng(0).normal(-8, 4, (8, WINDOW_FRAMES, 80)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(mel)).numpy()
    return float(np.abs(session.run(["visemes"], {"mel": mel})[0] - expected).max())
