"""Dense motion of a frame: source cell in the photo's volume, and its occlusion.

Architecture: face-vid2vid; upstream `src/facerender/modules/dense_motion.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.sadtalker.blocks import Down3d, Up3d, spatial_sizes
from export.networks.sadtalker.grids import identity_grid, translated
from export.networks.sadtalker.key_points import DEPTH, KEY_POINTS

COMPRESSED: Final = 4
MOTIONS: Final = KEY_POINTS + 1
KEY_POINT_VARIANCE: Final = 0.01
MIN_MASK_WEIGHT: Final = 1e-3
"""Smaller weights are dropped; the remaining ones are not normalised again."""

ENCODED: Final = (64, 128, 256, 512, 1024)
DECODED: Final = (512, 256, 128, 64, 32)


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion from the photo to one frame."""

    mask: Tensor
    """`[B, 16, D, H, W]`: the share of each key point's translation, before the cut.

    The still background comes first.
    """
    flow: Tensor
    """`[B, D, H, W, 3]`: the grid at which the photo's volume is sampled."""
    occlusion: Tensor
    """`[B, 1, H, W]`: 0 where nothing of the photo can be used."""


class DenseMotion(nn.Module):
    """Joins the key points' translations into one flow."""

    def __init__(self) -> None:
        super().__init__()
        self.hourglass = Hourglass()
        self.mask = nn.Conv3d(112, MOTIONS, 7, padding=3)
        self.compress = nn.Conv3d(32, COMPRESSED, 1)
        self.norm = nn.BatchNorm3d(COMPRESSED)
        self.occlusion = nn.Conv2d(112 * DEPTH, 1, 7, padding=3)

    def compressed(self, feature: Tensor) -> Tensor:
        """The photo's volume `[B, 32, D, H, W]` as `[B, 4, D, H, W]`.

        It depends on the photo alone.
        """
        return functional.relu(self.norm(self.compress(feature)))

    def forward(self, compressed: Tensor, source: Tensor, driving: Tensor) -> Motion:
        """`compressed` of the photo, key points `[B, 15, 3]` of photo and frame."""
        shifts = _after_background(source - driving)
        decoded = self.hourglass(self.evidence(compressed, source, driving, shifts))
        mask = functional.softmax(self.mask(decoded), dim=1)
        occlusion = torch.sigmoid(
            self.occlusion(decoded.reshape(-1, 112 * DEPTH, *spatial_sizes(decoded)[1:]))
        )
        return Motion(mask, _flow(mask, shifts), occlusion)

    def evidence(
        self, compressed: Tensor, source: Tensor, driving: Tensor, shifts: Tensor
    ) -> Tensor:
        """`[B, 80, D, H, W]`: for each translation a heat map and the warped photo's volume."""
        grid = identity_grid(compressed)
        heat = _after_background(_heat(driving, grid) - _heat(source, grid))
        seen = torch.cat((heat[:, :, None], translated(compressed, shifts)), dim=2)
        return seen.reshape(-1, MOTIONS * (1 + COMPRESSED), *spatial_sizes(compressed))


def _after_background(x: Tensor) -> Tensor:
    """`[B, 15, ...]` to `[B, 16, ...]`: zeros for the background come first."""
    return torch.cat((torch.zeros_like(x[:, :1]), x), dim=1)


def _heat(points: Tensor, grid: Tensor) -> Tensor:
    """Gaussian blobs `[B, 15, D, H, W]` around key points `[B, 15, 3]`."""
    difference = grid - points[:, :, None, None, None]
    return torch.exp(-(difference**2).sum(dim=-1) / (2.0 * KEY_POINT_VARIANCE))


def _flow(mask: Tensor, shifts: Tensor) -> Tensor:
    """Sum of the translated grids, weighted by the mask `[B, 16, D, H, W]` after the cut."""
    depth, height, width = spatial_sizes(mask)
    flat = mask.reshape(-1, MOTIONS, depth * height * width).transpose(1, 2)
    kept = torch.where(flat < MIN_MASK_WEIGHT, torch.zeros_like(flat), flat)
    moved = torch.matmul(kept, shifts) + kept.sum(dim=2, keepdim=True) * identity_grid(
        mask
    ).reshape(-1, 3)
    return moved.reshape(-1, depth, height, width, 3)


class Hourglass(nn.Module):
    """U-Net over height and width of a volume: `[B, 80, D, H, W]` to `[B, 112, D, H, W]`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = HourglassEncoder()
        self.decoder = HourglassDecoder()

    def forward(self, x: Tensor) -> Tensor:
        """Features of the motion."""
        return self.decoder(self.encoder(x))


class HourglassEncoder(nn.Module):
    """The input and five halvings of it."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (MOTIONS * (1 + COMPRESSED), *ENCODED[:-1])
        self.down_blocks = nn.ModuleList(Down3d(i, o) for i, o in zip(inputs, ENCODED, strict=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Six volumes, the largest first."""
        volumes = [x]
        for block in self.down_blocks:
            volumes.append(block(volumes[-1]))
        return volumes


class HourglassDecoder(nn.Module):
    """Five doublings, each joined by the encoder's volume of that size."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (1024, 1024, 512, 256, 128)
        self.up_blocks = nn.ModuleList(Up3d(i, o) for i, o in zip(inputs, DECODED, strict=True))
        self.conv = nn.Conv3d(112, 112, 3, padding=1)
        self.norm = nn.BatchNorm3d(112)

    def forward(self, volumes: list[Tensor]) -> Tensor:
        """`[B, 112, D, H, W]`."""
        x = volumes[-1]
        for block, skip in zip(self.up_blocks, reversed(volumes[:-1]), strict=True):
            x = torch.cat((block(x), skip), dim=1)
        return functional.relu(self.norm(self.conv(x)))
