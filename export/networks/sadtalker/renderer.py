"""The face renderer: a photo's volume, encoded once, moved and painted for each frame.

Architecture: face-vid2vid (Wang et al., CVPR 2021) with a SPADE decoder; upstream
`src/facerender/modules/generator.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from export.blocks import Residual3d
from export.networks.sadtalker.blocks import ConvNorm2d, Down2d, spatial_sizes
from export.networks.sadtalker.dense_motion import DenseMotion, Motion
from export.networks.sadtalker.grids import warped
from export.networks.sadtalker.key_points import DEPTH
from export.networks.sadtalker.spade import SpadeDecoder


@dataclass(frozen=True, slots=True)
class EncodedPhoto:
    """Encoding of a photo for all its frames; for pictures of 256 pixels H = W = 64."""

    feature: Tensor
    """`[B, 32, 16, H, W]`."""
    compressed: Tensor
    """`[B, 4, 16, H, W]`."""


class FaceRenderer(nn.Module):
    """`encode` runs once per photo, `forward` for each frame."""

    def __init__(self) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotion()
        self.first = ConvNorm2d(3, 64)
        self.down_blocks = nn.ModuleList((Down2d(64, 128), Down2d(128, 256)))
        self.second = nn.Conv2d(256, 512, 1)
        self.resblocks_3d = nn.Sequential(
            OrderedDict((f"3dr{index}", Residual3d(32)) for index in range(6))
        )
        self.third = ConvNorm2d(512, 256, slope=0.01)
        self.fourth = nn.Conv2d(256, 256, 1)
        self.decoder = SpadeDecoder()

    def encode(self, photo: Tensor) -> EncodedPhoto:
        """Picture `[B, 3, 4H, 4W]`, RGB 0..1."""
        x = self.first(photo)
        for block in self.down_blocks:
            x = block(x)
        x = self.second(x)
        feature = self.resblocks_3d(x.reshape(-1, 32, DEPTH, *spatial_sizes(x)))
        return EncodedPhoto(feature, self.dense_motion_network.compressed(feature))

    def forward(
        self, photo: EncodedPhoto, source: Tensor, driving: Tensor
    ) -> tuple[Tensor, Motion]:
        """Key points `[B, 15, 3]` of photo and frame to the frame `[B, 3, 4H, 4W]`, RGB 0..1."""
        motion = self.dense_motion_network(photo.compressed, source, driving)
        moved = warped(photo.feature, motion.flow)
        flat = moved.reshape(-1, 32 * DEPTH, *spatial_sizes(moved)[1:])
        return self.decoder(self.fourth(self.third(flat)) * motion.occlusion), motion
