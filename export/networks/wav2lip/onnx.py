"""Exports of Wav2Lip: one declaration per served network.

With names, example inputs and tolerances.
"""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from export.base import AxisRange, ExportSpec, Graph
from export.networks.wav2lip.blocks import UpConvBlock
from export.networks.wav2lip.generator import Generator
from export.networks.wav2lip.quality_discriminator import QualityDiscriminator
from export.networks.wav2lip.s3fd import S3fd
from export.networks.wav2lip.serving import (
    FACE_SIZE,
    ServedFaceDetector,
    ServedMouth,
    ServedQualityDiscriminator,
    ServedSyncNet,
)
from export.networks.wav2lip.syncnet import SyncNet

GREY_LEVEL: Final = 1.0
"""Tolerance of byte pictures: a value near a whole number may be truncated to either level."""

DETECTOR_OUTPUTS: Final = tuple(
    f"{kind}_{stride}" for stride in (4, 8, 16, 32, 64, 128) for kind in ("classes", "boxes")
)
"""Named by the level's stride in pixels."""


def mouth_export(generator: Generator, batch: int, random: torch.Generator) -> ExportSpec:
    """`wav2lip`: every frame; the rows that the live path does not show are the face's own."""
    inputs = {"mel": _mel(batch, random), "face": _bytes(random, batch, FACE_SIZE, FACE_SIZE, 3)}
    return ExportSpec(
        "wav2lip", ServedMouth(folded(generator)).eval(), inputs, {"patch": GREY_LEVEL}
    )


def syncnet_export(syncnet: SyncNet, batch: int, random: torch.Generator) -> ExportSpec:
    """`wav2lip_syncnet`: a score of the fit between mouth and audio."""
    inputs = {
        "mel": _mel(batch, random),
        "faces": _bytes(random, batch, 5, FACE_SIZE, FACE_SIZE, 3),
    }
    outputs = dict.fromkeys(("sync", "audio_embedding", "face_embedding"), 1e-5)
    return ExportSpec("wav2lip_syncnet", ServedSyncNet(syncnet).eval(), inputs, outputs)


def quality_export(
    discriminator: QualityDiscriminator, batch: int, random: torch.Generator
) -> ExportSpec:
    """`wav2lip_quality`: a score of the realism of a mouth."""
    module = ServedQualityDiscriminator(discriminator).eval()
    return ExportSpec(
        "wav2lip_quality",
        module,
        {"face": _bytes(random, batch, FACE_SIZE, FACE_SIZE, 3)},
        {"real": 1e-5},
    )


def detector_export(detector: S3fd, batch: int, random: torch.Generator) -> ExportSpec:
    """`wav2lip_s3fd`: the face detector, for pictures of any size."""
    free = {"picture": {1: "height", 2: "width"}}
    for name in DETECTOR_OUTPUTS:
        free[name] = {2: f"rows_{name}", 3: f"columns_{name}"}
    inputs = {"picture": _bytes(random, batch, 128, 160, 3)}
    ranges = {"height": AxisRange(64, 360, 720), "width": AxisRange(64, 640, 1280)}
    return ExportSpec(
        "wav2lip_s3fd",
        ServedFaceDetector(detector).eval(),
        inputs,
        dict.fromkeys(DETECTOR_OUTPUTS, 1e-4),
        free,
        ranges,
    )


GRAPHS: Final = (
    Graph("wav2lip", ("generator",), mouth_export),
    Graph("wav2lip_syncnet", ("syncnet",), syncnet_export, optional=True),
    Graph("wav2lip_quality", ("visual_quality_disc",), quality_export, optional=True),
    Graph("wav2lip_s3fd", ("s3fd",), detector_export, optional=True),
)


def folded(generator: Generator) -> Generator:
    """A copy whose batch norms are folded into the transposed convolutions too.

    The exporter folds only the plain ones.
    """
    copied = copy.deepcopy(generator).eval()
    for block in copied.modules():
        if isinstance(block, UpConvBlock):
            convolution, norm = block.conv_block
            assert isinstance(convolution, nn.ConvTranspose2d)
            assert isinstance(norm, nn.BatchNorm2d)
            block.conv_block = nn.Sequential(fuse_conv_bn_eval(convolution, norm, transpose=True))
    return copied


def _mel(batch: int, random: torch.Generator) -> Tensor:
    return torch.rand(batch, 16, 80, generator=random) * 8.0 - 4.0


def _bytes(random: torch.Generator, *shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
