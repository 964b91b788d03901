"""ResNet-18, the backbone of TPSM's key point and background networks.

With torchvision's names of parts. Source: He et al., "Deep Residual Learning for Image
Recognition", CVPR 2016, and torchvision's `resnet18`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

STAGES: Final = ("maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc")
"""Names of the results of `ResNet18.stages`, in order."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut: `[B, C, H, W]` -> `[B, D, H/stride, W/stride]`."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = (
            nn.Sequential() if stride == 1 else _projection(channels_in, channels_out, stride)
        )

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(maps)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.downsample(maps))


class ResNet18(nn.Module):
    """Picture `[B, C, H, W]`, RGB 0..1 without mean and deviation -> `[B, outputs]`."""

    def __init__(self, channels_in: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.fc = nn.Linear(512, outputs)

    def stages(self, picture: Tensor) -> Iterator[Tensor]:
        """The outputs named in `STAGES`.

        For 256x256 pixels 64x64 down to 8x8, then `[B, 512, 1, 1]` and `[B, outputs]`.
        """
        maps = functional.relu(self.bn1(self.conv1(picture)))
        yield (maps := functional.max_pool2d(maps, 3, 2, padding=1))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            yield (maps := layer(maps))
        yield (pooled := functional.adaptive_avg_pool2d(maps, 1))
        yield self.fc(pooled.flatten(1))

    def forward(self, picture: Tensor) -> Tensor:
        *_, last = self.stages(picture)
        return last


def _projection(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
    )
