"""Hourglass over frames, height and width, all three halved together.

Upstream `modules/util.py`, 3-D.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.blocks import Residual3d
from export.networks.audio2head.layers import hourglass_widths


class DownBlock3d(nn.Module):
    """Residual block, then convolution, to half the size on three axes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.res = Residual3d(inputs)
        self.norm_res = nn.BatchNorm3d(inputs)
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, T, H, W]` to `[B, outputs, T/2, H/2, W/2]`."""
        hidden = functional.relu(self.norm_res(self.res(x)))
        return functional.avg_pool3d(functional.relu(self.norm(self.conv(hidden))), 2)


class UpBlock3d(nn.Module):
    """Convolution at twice the size on three axes, then residual block."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm3d(outputs)
        self.res = Residual3d(outputs)
        self.norm2 = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, T, H, W]` to `[B, outputs, 2T, 2H, 2W]`."""
        large = functional.interpolate(x, scale_factor=(2.0, 2.0, 2.0), mode="nearest")
        return functional.relu(self.norm2(self.res(functional.relu(self.norm(self.conv(large))))))


class Encoder3d(nn.Module):
    """Downward half: residual blocks and halvings."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(
            DownBlock3d(fine, coarse) for fine, coarse in pairwise(widths)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of every size, the input first."""
        maps = [x]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return maps


class Decoder3d(nn.Module):
    """Upward half; the encoder's maps pass a residual block before they join."""

    def __init__(self, widths: list[int], finest: int) -> None:
        super().__init__()
        outputs = [finest, *widths[1:-1]]
        inputs = [2 * width for width in widths[1:-1]] + [widths[-1]]
        self.res_blocks = nn.ModuleList(
            nn.Sequential(Residual3d(width), nn.BatchNorm3d(width), nn.ReLU())
            for width in widths[-2::-1]
        )
        self.up_blocks = nn.ModuleList(
            UpBlock3d(i, o) for i, o in zip(inputs[::-1], outputs[::-1], strict=True)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """`[B, finest + inputs, T, H, W]`."""
        x = maps[-1]
        for up, across, skip in zip(self.up_blocks, self.res_blocks, maps[-2::-1], strict=True):
            x = torch.cat([up(x), across(skip)], dim=1)
        return x


class Hourglass3d(nn.Module):
    """Encoder and decoder over five sizes."""

    def __init__(self, inputs: int, base: int, widest: int, blocks: int = 5) -> None:
        super().__init__()
        widths = hourglass_widths(inputs, base, widest, blocks)
        self.encoder = Encoder3d(widths)
        self.decoder = Decoder3d(widths, base)
        self.outputs = base + inputs

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, T, H, W]` to `[B, base + inputs, T, H, W]`.

        All three sizes are multiples of 2^blocks.
        """
        return self.decoder(self.encoder(x))
