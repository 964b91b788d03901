"""Renderer of the First Order Motion Model: the source picture moved to key points.

Upstream `modules/generator.py`.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.audio2head.dense_motion import DenseMotionNetwork, Motion, sample
from export.networks.audio2head.key_points import KeyPoints
from export.networks.audio2head.layers import ConvBlock, DownBlock, ResidualBlock, UpBlock

RESIDUAL_BLOCKS = 6


class Generator(nn.Module):
    """Renderer in two parts: `encode` once per source, `render` for every frame.

    `encode` depends on the source alone and is a fifth of the work.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotionNetwork()
        self.first = ConvBlock(3, 64, kernel=7)
        self.down_blocks = nn.ModuleList([DownBlock(64, 128), DownBlock(128, 256)])
        self.bottleneck = nn.Sequential(
            OrderedDict((f"r{i}", ResidualBlock(256)) for i in range(RESIDUAL_BLOCKS))
        )
        self.up_blocks = nn.ModuleList([UpBlock(256, 128), UpBlock(128, 64)])
        self.final = nn.Conv2d(64, 3, 7, padding=3)

    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[B, 256, 64, 64]` and the small picture `[B, 3, 64, 64]`.

        Of `[B, 3, 256, 256]`, RGB 0..1.
        """
        features = self.first(picture)
        for block in self.down_blocks:
            features = block(features)
        return features, self.dense_motion_network.down(picture)

    def render(
        self, features: Tensor, small: Tensor, source: KeyPoints, driving: KeyPoints
    ) -> tuple[Tensor, Motion]:
        """Frames `[B, 3, 256, 256]`, RGB 0..1, and their motion."""
        motion = self.dense_motion_network(small, source, driving)
        x = self.bottleneck(sample(features, motion.flow) * motion.occlusion)
        for block in self.up_blocks:
            x = block(x)
        return torch.sigmoid(self.final(x)), motion

    def forward(
        self, picture: Tensor, source: KeyPoints, driving: KeyPoints
    ) -> tuple[Tensor, Motion]:
        """Frames of pictures `[B, 3, 256, 256]`, and their motion."""
        return self.render(*self.encode(picture), source, driving)


def moved_picture(picture: Tensor, flow: Tensor) -> Tensor:
    """The picture `[B, 3, 256, 256]` itself moved by the flow `[B, 64, 64, 2]`.

    Not part of the frame, but it shows the motion.
    """
    size = (picture.shape[2], picture.shape[3])
    full = functional.interpolate(
        flow.permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False
    )
    return sample(picture, full.permute(0, 2, 3, 1))
