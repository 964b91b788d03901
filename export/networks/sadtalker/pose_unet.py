"""Residual U-Net over a pose sequence as a one-channel picture; it shrinks along time only.

Architecture: ResUNet (Zhang et al., 2018); upstream `src/audio2pose_models/res_unet.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_TIME_HALVED = (2, 1)


class PoseUNet(nn.Module):
    """`[B, 1, 32, 6]` to `[B, 1, 32, 6]`, 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
        )
        self.input_skip = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1))
        self.residual_conv_1 = Residual(32, 64, _TIME_HALVED)
        self.residual_conv_2 = Residual(64, 128, _TIME_HALVED)
        self.bridge = Residual(128, 256, _TIME_HALVED)
        self.upsample_1, self.up_residual_conv1 = Upsample(256), Residual(256 + 128, 128)
        self.upsample_2, self.up_residual_conv2 = Upsample(128), Residual(128 + 64, 64)
        self.upsample_3, self.up_residual_conv3 = Upsample(64), Residual(64 + 32, 32)
        self.output_layer = nn.Sequential(nn.Conv2d(32, 1, 1), nn.Sigmoid())

    def forward(self, poses: Tensor) -> Tensor:
        """The refined sequence."""
        full = self.input_layer(poses) + self.input_skip(poses)
        half = self.residual_conv_1(full)
        quarter = self.residual_conv_2(half)
        x = self.bridge(quarter)
        x = self.up_residual_conv1(torch.cat((self.upsample_1(x), quarter), dim=1))
        x = self.up_residual_conv2(torch.cat((self.upsample_2(x), half), dim=1))
        x = self.up_residual_conv3(torch.cat((self.upsample_3(x), full), dim=1))
        return self.output_layer(x)


class Residual(nn.Module):
    """Two pre-activated convolutions plus a convolved shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int | tuple[int, int] = 1) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.conv_skip = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T, 6]` to `[B, D, T or T/2, 6]`."""
        return self.conv_block(x) + self.conv_skip(x)


class Upsample(nn.Module):
    """Doubles the time axis."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(channels, channels, _TIME_HALVED, stride=_TIME_HALVED)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T, 6]` to `[B, C, 2T, 6]`."""
        return self.upsample(x)
