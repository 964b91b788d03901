"""ResNet-34 for any number of input channels, with the tensor names of torchvision.

Source: He et al., CVPR 2016.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

BLOCKS: Final = (3, 4, 6, 3)
WIDTHS: Final = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    The shortcut is a 1 x 1 convolution where size or width changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs, H/stride, W/stride]`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        hidden = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(shortcut + self.bn2(self.conv2(hidden)))


class ResNet34(nn.Module):
    """Picture to one vector."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _layer(0)
        self.layer2 = _layer(1)
        self.layer3 = _layer(2)
        self.layer4 = _layer(3)
        self.fc = nn.Linear(WIDTHS[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs]`."""
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(2, 3)))


def _layer(index: int) -> nn.Sequential:
    width = WIDTHS[index]
    first = BasicBlock(64, 64, 1) if index == 0 else BasicBlock(WIDTHS[index - 1], width, 2)
    return nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(BLOCKS[index] - 1)))
