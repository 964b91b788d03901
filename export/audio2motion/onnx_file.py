"""Write the trained network as the ONNX file that Triton serves, and check its parity."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from export.audio2motion.network import STEPS, WINDOW_FRAMES, Block, MouthNet, Tail
from orchestrator.rendering.motion import MOUTH_PARAMETERS

OPSET = 18


class _Served(nn.Module):
    """The mouth head alone, without the viseme head."""

    def __init__(self, network: MouthNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.network(mel)
        return result


def export(network: MouthNet, path: Path) -> float:
    """Write `path`; returns the largest difference to torch over random windows.

    At batches of 1, 3 and 8.
    """
    plain = folded(network)
    path.parent.mkdir(parents=True, exist_ok=True)
    example = torch.zeros(2, WINDOW_FRAMES, 80)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, "model.onnx")
        torch.onnx.export(
            _Served(plain), (example,), draft,
            input_names=["mel"], output_names=["motion"], opset_version=OPSET,
            dynamic_axes={"mel": {0: "batch"}, "motion": {0: "batch"}}, dynamo=False,
        )  # fmt: skip
        model = onnx.load(draft)
    for axis, size in ((1, STEPS), (2, len(MOUTH_PARAMETERS))):
        model.graph.output[0].type.tensor_type.shape.dim[axis].dim_value = size
    del model.metadata_props[:]
    model.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return parity(network, path)


def parity(network: MouthNet, path: Path) -> float:
    """Largest absolute difference between torch and the file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = 0.0
    for batch in (1, 3, 8):
        mel = rng.normal(-8, 4, (batch, WINDOW_FRAMES, 80)).astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(mel)).numpy()
        worst = max(worst, float(np.abs(session.run(["motion"], {"mel": mel})[0] - expected).max()))
    return worst


def folded(network: MouthNet) -> MouthNet:
    """A copy whose normalisations are folded into the convolutions before them."""
    copied = copy.deepcopy(network).eval()
    for block in (*copied.blocks, *copied.near_blocks, copied.tail):
        assert isinstance(block, Block | Tail)
        block.convolution = nn.utils.fuse_conv_bn_eval(block.convolution, block.norm)
        block.norm = nn.Identity()  # type: ignore[assignment]
    return copied
