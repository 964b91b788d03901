"""What to export of Wav2Lip: for each served network its module, example inputs, tensor names and tolerances."""

from __future__ import annotations

import copy
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from export.networks.wav2lip.blocks import UpConvBlock
from export.networks.wav2lip.generator import Generator
from export.networks.wav2lip.quality_discriminator import QualityDiscriminator
from export.networks.wav2lip.s3fd import S3fd
from export.networks.wav2lip.serving import (
    FACE_SIZE,
    FEATURE_STAGES,
    ServedDecoder,
    ServedFaceDetector,
    ServedFaceEncoder,
    ServedGenerator,
    ServedMouth,
    ServedQualityDiscriminator,
    ServedSyncNet,
)
from export.networks.wav2lip.syncnet import SyncNet

OPSET: Final = 18

GREY_LEVEL: Final = 1.0
"""Tolerance of byte pictures: a value beside a whole number may be truncated to either level."""

FEATURES: Final = tuple(f"features_{stage}" for stage in range(FEATURE_STAGES))

DETECTOR_OUTPUTS: Final = tuple(f"{kind}_{stride}" for stride in (4, 8, 16, 32, 64, 128) for kind in ("classes", "boxes"))
"""Named by the level's stride in pixels."""


class OnnxExport(NamedTuple):
    """One graph; axis 0 of every tensor is the batch."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    """Examples of batch 2."""
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    tolerances: tuple[float, ...]
    """Largest difference to the module, per output."""
    free_axes: dict[str, dict[int, str]]
    """Axes other than the batch whose length is free, by tensor."""


def generator_export(generator: Generator) -> OnnxExport:
    """The whole network: `wav2lip`."""
    module = ServedGenerator(folded(generator)).eval()
    return OnnxExport(module, (_mel(), _bytes(2, FACE_SIZE, FACE_SIZE, 3)), ("mel", "face"), ("patch",), (GREY_LEVEL,), {})


def mouth_export(generator: Generator) -> OnnxExport:
    """The whole network without the rows that the live path does not show."""
    module = ServedMouth(folded(generator)).eval()
    return OnnxExport(module, (_mel(), _bytes(2, FACE_SIZE, FACE_SIZE, 3)), ("mel", "face"), ("patch",), (GREY_LEVEL,), {})


def face_encoder_export(generator: Generator) -> OnnxExport:
    """The half that depends on the face alone."""
    module = ServedFaceEncoder(folded(generator)).eval()
    return OnnxExport(module, (_bytes(2, FACE_SIZE, FACE_SIZE, 3),), ("face",), FEATURES, (1e-4,) * FEATURE_STAGES, {})


def decoder_export(generator: Generator) -> OnnxExport:
    """The half that runs for every frame, on features of `face_encoder_export`."""
    module = ServedDecoder(folded(generator)).eval()
    sizes = ((16, 96), (32, 48), (64, 24), (128, 12), (256, 6), (512, 3), (512, 1))
    features = tuple(torch.rand(2, channels, side, side) for channels, side in sizes)
    return OnnxExport(module, (_mel(), *features), ("mel", *FEATURES), ("patch",), (GREY_LEVEL,), {})


def syncnet_export(syncnet: SyncNet) -> OnnxExport:
    """A score of how well a mouth fits the sound: `wav2lip_syncnet`."""
    inputs = (_mel(), _bytes(2, 5, FACE_SIZE, FACE_SIZE, 3))
    outputs = ("sync", "audio_embedding", "face_embedding")
    return OnnxExport(ServedSyncNet(syncnet).eval(), inputs, ("mel", "faces"), outputs, (1e-5,) * 3, {})


def quality_export(discriminator: QualityDiscriminator) -> OnnxExport:
    """A score of how real a mouth looks: `wav2lip_quality`."""
    module = ServedQualityDiscriminator(discriminator).eval()
    return OnnxExport(module, (_bytes(2, FACE_SIZE, FACE_SIZE, 3),), ("face",), ("real",), (1e-5,), {})


def detector_export(detector: S3fd) -> OnnxExport:
    """The face detector, for pictures of any size: `wav2lip_s3fd`."""
    free = {"picture": {1: "height", 2: "width"}}
    for name in DETECTOR_OUTPUTS:
        free[name] = {2: f"rows_{name}", 3: f"columns_{name}"}
    # The later levels give values in the hundreds from seeded weights, and add up 9216 products each.
    tolerances = (1e-4,) * 6 + (1e-2,) * 6
    return OnnxExport(ServedFaceDetector(detector).eval(), (_bytes(2, 128, 160, 3),), ("picture",), DETECTOR_OUTPUTS, tolerances, free)


def folded(generator: Generator) -> Generator:
    """A copy whose batch norms are folded into the transposed convolutions too; the exporter folds only the plain ones."""
    copied = copy.deepcopy(generator).eval()
    for block in copied.modules():
        if isinstance(block, UpConvBlock):
            convolution, norm = block.conv_block
            block.conv_block = nn.Sequential(fuse_conv_bn_eval(convolution, norm, transpose=True))
    return copied


def _mel() -> Tensor:
    return torch.rand(2, 16, 80) * 8.0 - 4.0


def _bytes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)
