"""Blocks that Audio2Head's picture networks share.

They come from the First Order Motion Model (Siarohin et al., NeurIPS 2019).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL_SIZE: Final = 13
SIGMA: Final = 1.5
DOWN_FACTOR: Final = 4


class AntiAliasDown(nn.Module):
    """Quarter size: every fourth pixel after a 13 x 13 Gaussian, whose kernel is a buffer."""

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer(
            "weight", gaussian_kernel().expand(channels, 1, KERNEL_SIZE, KERNEL_SIZE).clone()
        )

    def forward(self, picture: Tensor) -> Tensor:
        """`[B, channels, H, W]` to `[B, channels, H/4, W/4]`; zero outside the picture."""
        return functional.conv2d(
            picture, self.weight, stride=DOWN_FACTOR, padding=KERNEL_SIZE // 2, groups=self.channels
        )


class ConvBlock(nn.Module):
    """Convolution, batch norm and ReLU; the size stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs, H, W]`."""
        return functional.relu(self.norm(self.conv(x)))


class DownBlock(ConvBlock):
    """`ConvBlock` to half the size."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs, H/2, W/2]`."""
        return functional.avg_pool2d(super().forward(x), 2)


class UpBlock(ConvBlock):
    """`ConvBlock` at twice the size."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs, 2H, 2W]`."""
        return super().forward(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class ResidualBlock(nn.Module):
    """Two convolutions with their norms and ReLUs before them, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, H, W]`, the same size out."""
        hidden = self.conv1(functional.relu(self.norm1(x)))
        return x + self.conv2(functional.relu(self.norm2(hidden)))


class Encoder(nn.Module):
    """The hourglass's downward half."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(
            DownBlock(fine, coarse) for fine, coarse in pairwise(widths)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of every size, the input first."""
        maps = [x]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return maps


class Decoder(nn.Module):
    """The hourglass's upward half; every map is joined by the encoder's of its size."""

    def __init__(self, widths: list[int], finest: int) -> None:
        super().__init__()
        outputs = [finest, *widths[1:-1]]
        inputs = [2 * width for width in widths[1:-1]] + [widths[-1]]
        self.up_blocks = nn.ModuleList(
            UpBlock(i, o) for i, o in zip(inputs[::-1], outputs[::-1], strict=True)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """`[B, finest + inputs, H, W]`."""
        x = maps[-1]
        for block, skip in zip(self.up_blocks, maps[-2::-1], strict=True):
            x = torch.cat([block(x), skip], dim=1)
        return x


class Hourglass(nn.Module):
    """Encoder and decoder over five sizes (upstream `modules/util.py`)."""

    def __init__(self, inputs: int, base: int, widest: int, blocks: int = 5) -> None:
        super().__init__()
        widths = hourglass_widths(inputs, base, widest, blocks)
        self.encoder = Encoder(widths)
        self.decoder = Decoder(widths, base)
        self.outputs = base + inputs

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, base + inputs, H, W]`.

        H and W are multiples of 2^blocks.
        """
        return self.decoder(self.encoder(x))


def hourglass_widths(inputs: int, base: int, widest: int, blocks: int) -> list[int]:
    """Channels of every size, finest first.

    The input's, then doubling from twice the base up to the widest.
    """
    return [inputs, *(min(widest, base * 2 ** (block + 1)) for block in range(blocks))]


def gaussian_kernel() -> Tensor:
    """`[1, 1, 13, 13]`, sum 1."""
    offset = torch.arange(KERNEL_SIZE, dtype=torch.float32) - (KERNEL_SIZE - 1) / 2
    row = torch.exp(-(offset**2) / (2.0 * SIGMA**2))
    kernel = row[:, None] * row[None, :]
    return (kernel / kernel.sum())[None, None]


def coordinate_grid(height: int, width: int) -> Tensor:
    """`[height, width, 2]` of (x, y) with both ends at -1 and 1.

    The picture samplers do not count that way (`align_corners=False`); the checkpoints were trained
    with this mismatch.
    """
    y = 2.0 * torch.arange(height, dtype=torch.float32) / (height - 1) - 1.0
    x = 2.0 * torch.arange(width, dtype=torch.float32) / (width - 1) - 1.0
    return torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)], dim=-1)
