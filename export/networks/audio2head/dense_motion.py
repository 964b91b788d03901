"""Dense motion of a frame: key point motions blended by a network.

Upstream `modules/dense_motion.py`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.audio2head.key_points import KEY_POINTS, KeyPoints, inverse_2x2
from export.networks.audio2head.layers import AntiAliasDown, Hourglass, coordinate_grid

HEAT_VARIANCE: Final = 0.01
MOTION_SIZE: Final = 64
"""Side of the maps of motion; the picture has four times as much."""
MOTIONS: Final = KEY_POINTS + 1
"""One motion per key point, and the identity."""


class Motion(NamedTuple):
    """Motion of `[B]` frames at 64 x 64."""

    flow: Tensor
    """`[B, 64, 64, 2]`: place of each pixel in the source, (x, y) in -1..1."""
    occlusion: Tensor
    """`[B, 1, 64, 64]`, 0..1: usable share of the source there."""
    mask: Tensor
    """`[B, 11, 64, 64]`, sum 1: share of each motion."""
    warped: Tensor
    """`[B, 11, 3, 64, 64]`: the small picture moved by each motion."""


class DenseMotionNetwork(nn.Module):
    """Compares each motion's effect on the small picture, and weights the motions."""

    def __init__(self) -> None:
        super().__init__()
        self.hourglass = Hourglass(inputs=4 * MOTIONS, base=64, widest=1024)
        self.mask = nn.Conv2d(self.hourglass.outputs, MOTIONS, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.outputs, 1, 7, padding=3)
        self.down = AntiAliasDown(3)

    def forward(self, small: Tensor, source: KeyPoints, driving: KeyPoints) -> Motion:
        """Motion of a quarter-size picture `[B, 3, 64, 64]`.

        From the source's key points to the frame's.
        """
        grids = motion_grids(MOTION_SIZE, source, driving)
        warped = warp_by_each(small, grids)
        heat = heat_difference(MOTION_SIZE, source, driving)
        features = self.hourglass(
            torch.cat([heat[:, :, None], warped], dim=2).reshape(
                -1, 4 * MOTIONS, MOTION_SIZE, MOTION_SIZE
            )
        )
        mask = torch.softmax(self.mask(features), dim=1)
        flow = (grids * mask[..., None]).sum(dim=1)
        return Motion(flow, torch.sigmoid(self.occlusion(features)), mask, warped)


def heat_difference(size: int, source: KeyPoints, driving: KeyPoints) -> Tensor:
    """Gaussian spots at the frame's key points minus those at the source's.

    `[B, 11, size, size]`; the first map is zero.
    """
    spots = _spots(size, driving.value) - _spots(size, source.value)
    return torch.cat([torch.zeros_like(spots[:, :1]), spots], dim=1)


def motion_grids(size: int, source: KeyPoints, driving: KeyPoints) -> Tensor:
    """Each motion's source places, `[B, 11, size, size, 2]`.

    The identity, then the affine change of each key point.
    """
    grid = coordinate_grid(size, size).to(source.value.device)
    affine = torch.matmul(source.jacobian, inverse_2x2(driving.jacobian))[:, :, None, None]
    offset = grid - driving.value[:, :, None, None]
    moved = torch.matmul(affine, offset[..., None])[..., 0] + source.value[:, :, None, None]
    return torch.cat([grid.expand_as(moved[:, :1]), moved], dim=1)


def warp_by_each(picture: Tensor, grids: Tensor) -> Tensor:
    """`[B, 3, 64, 64]` sampled by each of `[B, 11, 64, 64, 2]`, as `[B, 11, 3, 64, 64]`."""
    repeated = (
        picture[:, None]
        .expand(-1, MOTIONS, 3, MOTION_SIZE, MOTION_SIZE)
        .reshape(-1, 3, MOTION_SIZE, MOTION_SIZE)
    )
    warped = sample(repeated, grids.reshape(-1, MOTION_SIZE, MOTION_SIZE, 2))
    return warped.reshape(-1, MOTIONS, 3, MOTION_SIZE, MOTION_SIZE)


def sample(picture: Tensor, flow: Tensor) -> Tensor:
    """`[B, C, H, W]` at the places `[B, h, w, 2]`, bilinear, zero outside."""
    return functional.grid_sample(
        picture, flow, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def _spots(size: int, value: Tensor) -> Tensor:
    distance = coordinate_grid(size, size).to(value.device) - value[:, :, None, None]
    return torch.exp(-0.5 * (distance**2).sum(dim=-1) / HEAT_VARIANCE)
