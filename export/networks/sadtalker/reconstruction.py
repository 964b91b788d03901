"""3DMM coefficients of an aligned photo; done once, at enrolment.

Architecture: ResNet-50 v1.5 (He et al., 2016) with the heads of Deep3DFaceRecon (Deng et al.,
2019); upstream `src/face3d/models/networks.py`.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS: Final = (80, 64, 80, 3, 27, 2, 1)
"""Identity, expression, texture, angles, illumination, translation x and y, translation z."""

STAGES: Final = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Inner width, blocks, stride of the first block."""


class FaceReconstruction(nn.Module):
    """Aligned face `[B, 3, 224, 224]`, RGB 0..1, to the 257 coefficients `[B, 257]`.

    In the order of `HEADS`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet50()
        self.final_layers = nn.ModuleList(nn.Conv2d(2048, width, 1) for width in HEADS)

    def forward(self, face: Tensor) -> Tensor:
        """All heads on the pooled map."""
        pooled = self.backbone(face).mean(dim=(2, 3), keepdim=True)
        return torch.cat([head(pooled) for head in self.final_layers], dim=1).flatten(1)


class ResNet50(nn.Module):
    """`[B, 3, 224, 224]` to `[B, 2048, 7, 7]`; no fully connected layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for number, (width, blocks, stride) in enumerate(STAGES, start=1):
            self.add_module(f"layer{number}", _stage(inputs, width, blocks, stride))
            inputs = 4 * width

    def forward(self, face: Tensor) -> Tensor:
        """The last stage's map."""
        x = functional.max_pool2d(
            functional.relu(self.bn1(self.conv1(face))), 3, stride=2, padding=1
        )
        for number in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1, and a projected shortcut where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = (
            nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if inputs != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride=stride, bias=False),
                nn.BatchNorm2d(4 * width),
            )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, 4 width, H / stride, W / stride]`."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (Bottleneck(4 * width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(inputs, width, stride), *rest)
