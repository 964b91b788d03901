"""Decoder of the moved picture: source features are warped at four sizes, and gaps filled.

Source: `modules/inpainting_network.py` of yoyo-nb/Thin-Plate-Spline-Motion-Model, config vox-256.
The second, detached copies of warped features that upstream computes feed a training loss only and
are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.tpsm_neural.blocks import ConvNormReLU, DownBlock, ResidualBlock, UpBlock
from export.networks.tpsm_neural.dense_motion import DenseMotion, sample


class SourceEncoding(NamedTuple):
    """Features of the source picture, finest first; they do not depend on the driving frame."""

    at_256: Tensor
    """`[B, 64, 256, 256]`"""
    at_128: Tensor
    """`[B, 128, 128, 128]`"""
    at_64: Tensor
    """`[B, 256, 64, 64]`"""
    at_32: Tensor
    """`[B, 512, 32, 32]`"""


class InpaintingNetwork(nn.Module):
    """Source picture `[B, 3, 256, 256]` and dense motion -> picture `[B, 3, 256, 256]`.

    RGB 0..1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = ConvNormReLU(3, 64, kernel_size=7)
        self.down_blocks = nn.ModuleList(
            (DownBlock(64, 128), DownBlock(128, 256), DownBlock(256, 512))
        )
        self.up_blocks = nn.ModuleList((UpBlock(512, 256), UpBlock(512, 128), UpBlock(256, 64)))
        self.resblock = nn.ModuleList(
            ResidualBlock(channels) for channels in (512, 512, 512, 512, 256, 256)
        )
        self.final = nn.Conv2d(64, 3, 7, padding=3)

    def encode(self, source: Tensor) -> SourceEncoding:
        """Source picture `[B, 3, 256, 256]` -> features, once per face."""
        features = [self.first(source)]
        for block in self.down_blocks:
            features.append(block(features[-1]))
        return SourceEncoding(*features)

    def render(self, source: Tensor, encoding: SourceEncoding, motion: DenseMotion) -> Tensor:
        """One frame `[B, 3, 256, 256]` from the source, its features and the motion."""
        flow, gaps = motion.deformation, motion.occlusion
        maps = warp(encoding.at_32, flow) * gaps[0]
        maps = self._refine(maps, 0)
        maps = self._refine(torch.cat((maps, warp(encoding.at_64, flow) * gaps[1]), dim=1), 1)
        maps = self._refine(torch.cat((maps, warp(encoding.at_128, flow) * gaps[2]), dim=1), 2)
        maps = _blend(maps, warp(encoding.at_256, flow), gaps[3])
        return _blend(torch.sigmoid(self.final(maps)), warp(source, flow), gaps[3])

    def forward(self, source: Tensor, motion: DenseMotion) -> Tensor:
        return self.render(source, self.encode(source), motion)

    def _refine(self, maps: Tensor, level: int) -> Tensor:
        maps = self.resblock[2 * level + 1](self.resblock[2 * level](maps))
        return self.up_blocks[level](maps)


def warp(maps: Tensor, deformation: Tensor) -> Tensor:
    """Maps `[B, C, S, S]` moved by a flow `[B, h, w, 2]` that is resized to their size."""
    scale = int(maps.shape[2]) / int(deformation.shape[1])
    if scale != 1.0:
        channels_first = deformation.permute(0, 3, 1, 2)
        resized = functional.interpolate(
            channels_first, scale_factor=scale, mode="bilinear", align_corners=True
        )
        deformation = resized.permute(0, 2, 3, 1)
    return sample(maps, deformation)


def _blend(inner: Tensor, kept: Tensor, share: Tensor) -> Tensor:
    return inner * (1 - share) + kept * share
