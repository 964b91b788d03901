"""Dense flow from key points: the spline for each pixel, and the occlusion of the source.

Source: `modules/dense_motion.py` and `modules/util.py` (`Hourglass`, `AntiAliasInterpolation2d`) of
yoyo-nb/Thin-Plate-Spline-Motion-Model, config vox-256.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.tpsm_neural.blocks import DownBlock, UpBlock
from export.networks.tpsm_neural.key_points import KEY_POINTS, POINTS_PER_SPLINE, SPLINES
from export.networks.tpsm_neural.splines import (
    apply_affine,
    apply_splines,
    coordinate_grid,
    fit_splines,
    heat_maps,
)

GRIDS: Final = SPLINES + 1
"""The background's grid first, then the splines'."""

ENCODER_CHANNELS: Final = (KEY_POINTS + 1 + 3 * GRIDS, 128, 256, 512, 1024, 1024)
"""Channels of the encoder; heat maps and moved pictures are the input (84 channels)."""

DECODER_CHANNELS: Final = (1024, 512, 256, 128, 64)
HOURGLASS_CHANNELS: Final = DECODER_CHANNELS[-1] + ENCODER_CHANNELS[0]


class DenseMotion(NamedTuple):
    """Input of the picture network, and the two parts it is made of."""

    deformation: Tensor
    """Source place of each pixel, `[B, 64, 64, 2]`, coordinates -1..1."""
    occlusion: tuple[Tensor, Tensor, Tensor, Tensor]
    """Share of the moved source to keep, 0..1, `[B, 1, S, S]` for S = 32, 64, 128, 256."""
    contributions: Tensor
    """Share of each grid at each pixel, `[B, 11, 64, 64]`."""
    deformed_source: Tensor
    """The source moved by each grid, `[B, 11, 3, 64, 64]`."""


class GaussianDown(nn.Module):
    """Quarter size without aliasing: blur, then every fourth pixel from the first.

    The blur has sigma 1.5, 13x13 taps and zero padding.
    """

    sigma: Final = 1.5
    radius: Final = 6
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        row = np.exp(-np.square(np.arange(-self.radius, self.radius + 1)) / (2 * self.sigma**2))
        kernel = np.outer(row, row) / np.square(row.sum())
        self.register_buffer(
            "weight", torch.from_numpy(np.tile(kernel.astype(np.float32), (3, 1, 1, 1)))
        )

    def forward(self, picture: Tensor) -> Tensor:
        return functional.conv2d(picture, self.weight, stride=4, padding=self.radius, groups=3)


class HourglassEncoder(nn.Module):
    """Five halvings; keeps every size."""

    def __init__(self) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(
            DownBlock(inside, outside) for inside, outside in pairwise(ENCODER_CHANNELS)
        )

    def forward(self, maps: Tensor) -> list[Tensor]:
        sizes = [maps]
        for block in self.down_blocks:
            sizes.append(block(sizes[-1]))
        return sizes


class HourglassDecoder(nn.Module):
    """Five doublings, each joined with the encoder's maps of that size; keeps every size."""

    def __init__(self) -> None:
        super().__init__()
        skips = (0, *ENCODER_CHANNELS[-2:0:-1])
        inputs = [
            before + skip
            for before, skip in zip((ENCODER_CHANNELS[-1], *DECODER_CHANNELS), skips, strict=False)
        ]
        self.up_blocks = nn.ModuleList(
            UpBlock(inside, outside)
            for inside, outside in zip(inputs, DECODER_CHANNELS, strict=True)
        )

    def forward(self, sizes: list[Tensor]) -> list[Tensor]:
        results, maps = [], sizes[-1]
        for block, skip in zip(self.up_blocks, sizes[-2::-1], strict=True):
            maps = torch.cat((block(maps), skip), dim=1)
            results.append(maps)
        return results


class Hourglass(nn.Module):
    """`[B, 84, 64, 64]` -> five maps, the last two `[B, 256, 32, 32]` and `[B, 148, 64, 64]`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = HourglassEncoder()
        self.decoder = HourglassDecoder()

    def forward(self, maps: Tensor) -> list[Tensor]:
        return self.decoder(self.encoder(maps))


class DenseMotionNetwork(nn.Module):
    """Source picture and key points of both pictures -> `DenseMotion`."""

    def __init__(self) -> None:
        super().__init__()
        channels = (HOURGLASS_CHANNELS, HOURGLASS_CHANNELS // 2, HOURGLASS_CHANNELS // 4)
        self.down = GaussianDown()
        self.hourglass = Hourglass()
        self.maps = nn.Conv2d(channels[0], GRIDS, 7, padding=3)
        self.up = nn.ModuleList(UpBlock(inside, outside) for inside, outside in pairwise(channels))
        occlusion_inputs = (DECODER_CHANNELS[-2] + ENCODER_CHANNELS[1], *channels)
        self.occlusion = nn.ModuleList(
            nn.Conv2d(inputs, 1, 7, padding=3) for inputs in occlusion_inputs
        )

    def forward(
        self,
        source: Tensor,
        driving_points: Tensor,
        source_points: Tensor,
        background: Tensor | None = None,
    ) -> DenseMotion:
        """Source and key points to the motion.

        Source `[B, 3, 256, 256]`, key points `[B, 50, 2]`, background matrix `[B, 3, 3]` or None
        for a still background.
        """
        small = self.down(source)
        grid = coordinate_grid(small.shape[2], small.shape[3], small)
        grids = transformations(driving_points, source_points, grid, background)
        deformed = deform(small, grids)
        heat = heat_maps(driving_points, source_points, grid)
        results = self.hourglass(torch.cat((heat, deformed.flatten(1, 2)), dim=1))
        contributions = torch.softmax(self.maps(results[-1]), dim=1)
        deformation = (grids * contributions[..., None]).sum(dim=1)
        return DenseMotion(deformation, self._occlusion(results), contributions, deformed)

    def _occlusion(self, results: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        double = self.up[0](results[-1])
        levels = (results[-2], results[-1], double, self.up[1](double))
        first, second, third, fourth = (
            torch.sigmoid(conv(level)) for conv, level in zip(self.occlusion, levels, strict=True)
        )
        return first, second, third, fourth


def transformations(
    driving_points: Tensor, source_points: Tensor, grid: Tensor, background: Tensor | None
) -> Tensor:
    """Every grid from driving to source coordinates, `[B, 11, H, W, 2]`.

    From points `[B, 50, 2]` and pixels `[H, W, 2]`.
    """
    shape = (-1, SPLINES, POINTS_PER_SPLINE, 2)
    splines = fit_splines(driving_points.reshape(shape), source_points.reshape(shape))
    moved = apply_splines(splines, grid)
    still = (
        torch.zeros_like(moved[:, :1]) + grid
        if background is None
        else apply_affine(background, grid)
    )
    return torch.cat((still, moved), dim=1)


def deform(small: Tensor, grids: Tensor) -> Tensor:
    """The small source `[B, 3, H, W]` sampled by each grid `[B, 11, H, W, 2]`.

    Returns `[B, 11, 3, H, W]`.
    """
    picture = [int(size) for size in small.shape[1:]]
    pictures = small[:, None].expand(-1, GRIDS, *picture).reshape(-1, *picture)
    return sample(pictures, grids.reshape(-1, *picture[1:], 2)).reshape(-1, GRIDS, *picture)


def sample(maps: Tensor, grid: Tensor) -> Tensor:
    """Bilinear values of `[B, C, H, W]` at `[B, h, w, 2]`; zero outside."""
    return functional.grid_sample(
        maps, grid, mode="bilinear", padding_mode="zeros", align_corners=True
    )
