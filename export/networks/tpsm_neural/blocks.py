"""Convolution blocks that the motion and the picture network of TPSM share.

Names of parts are the checkpoint's. Source: `modules/util.py` of
yoyo-nb/Thin-Plate-Spline-Motion-Model. Every norm is an affine instance norm without running
statistics, epsilon 1e-5; every map is `[B, C, H, W]`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ConvNormReLU(nn.Module):
    """Convolution of odd size with zero padding, instance norm, ReLU.

    `[B, C, H, W]` -> `[B, D, H, W]`.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size, padding=kernel_size // 2)
        self.norm = nn.InstanceNorm2d(channels_out, affine=True)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(maps)))


class DownBlock(ConvNormReLU):
    """Half the size by 2x2 means: `[B, C, H, W]` -> `[B, D, H/2, W/2]`."""

    def forward(self, maps: Tensor) -> Tensor:
        return functional.avg_pool2d(super().forward(maps), 2)


class UpBlock(ConvNormReLU):
    """Twice the size by repeated pixels: `[B, C, H, W]` -> `[B, D, 2H, 2W]`."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(functional.interpolate(maps, scale_factor=2.0, mode="nearest"))


class ResidualBlock(nn.Module):
    """Pre-activation residual block (He et al. 2016); keeps the shape.

    Norms and ReLUs come before the two 3x3 convolutions.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.InstanceNorm2d(channels, affine=True)
        self.norm2 = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.conv1(functional.relu(self.norm1(maps)))
        return maps + self.conv2(functional.relu(self.norm2(inner)))
