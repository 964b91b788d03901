"""Coordinates and warps of volumes without a 5-D sampler, in operators of every runtime.

All follow upstream's two conventions at once: grids reach from -1 at the first cell's centre to 1
at the last one's, but samples are taken as `grid_sample(align_corners=False)` does, where -1 and 1
are the outer edges. An identity grid is therefore no identity warp; the checkpoints were trained
with it.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from export.networks.sadtalker.blocks import spatial_sizes


def axis_coordinates(size: int, like: Tensor) -> Tensor:
    """`[size]` from -1 to 1, both ends included."""
    return 2.0 * (torch.arange(size, dtype=like.dtype, device=like.device) / (size - 1)) - 1.0


def identity_grid(volume: Tensor) -> Tensor:
    """`[D, H, W, 3]` of (x, y, z) for a volume `[B, C, D, H, W]`."""
    z, y, x = torch.meshgrid(
        *(axis_coordinates(size, volume) for size in spatial_sizes(volume)), indexing="ij"
    )
    return torch.stack((x, y, z), dim=-1)


def translated(volume: Tensor, shifts: Tensor) -> Tensor:
    """A volume sampled at the identity grid plus each of `shifts`: `[B, K, C, D, H, W]`.

    The volume is `[B, C, D, H, W]`, shifts `[B, K, 3]` (x, y, z). A translation separates, so
    trilinear sampling with zeros outside is one small matrix product per axis.
    """
    depth, height, width = spatial_sizes(volume)
    along_x, along_y, along_z = (
        _interpolation(size, shifts[..., axis]) for axis, size in enumerate((width, height, depth))
    )
    moved = torch.matmul(volume[:, None], along_x.transpose(-1, -2)[:, :, None, None])
    moved = torch.matmul(along_y[:, :, None, None], moved)
    count, channels = int(shifts.shape[1]), int(volume.shape[1])
    flat = moved.reshape(-1, count, channels, depth, height * width)
    return torch.matmul(along_z[:, :, None], flat).reshape(
        -1, count, channels, depth, height, width
    )


def _interpolation(size: int, shift: Tensor) -> Tensor:
    """Weights `[B, K, size, size]` of the cells (last axis) that each output reads.

    Shifts are `[B, K]`.
    """
    positions = _position(axis_coordinates(size, shift) + shift[..., None], size)
    cells = torch.arange(size, dtype=shift.dtype, device=shift.device)
    return (1.0 - (positions[..., None] - cells).abs()).clamp(min=0.0)


def _position(coordinate: Tensor, size: int) -> Tensor:
    """Cell index (a real number) that `grid_sample(align_corners=False)` reads for a coordinate."""
    return ((coordinate + 1.0) * size - 1.0) / 2.0


def warped(volume: Tensor, grid: Tensor) -> Tensor:
    """A volume `[B, C, D, H, W]` sampled at `grid` `[B, D, H, W, 3]` with zeros outside.

    Trilinear: the eight cells around each point are gathered and weighted. Returns `[B, C, D, H,
    W]`.
    """
    channels, sizes = int(volume.shape[1]), spatial_sizes(volume)
    count = sizes[0] * sizes[1] * sizes[2]
    points = grid.reshape(-1, count, 3)
    positions = [_position(points[..., axis], size) for axis, size in enumerate(reversed(sizes))]
    first = torch.arange(volume.shape[0], device=volume.device)[:, None] * count
    cells = volume.reshape(-1, channels, count).transpose(1, 2).reshape(-1, channels)
    total = torch.zeros_like(points[..., :1])
    for corner in itertools.product((0.0, 1.0), repeat=3):
        index, weight = _corner(positions, sizes[::-1], corner)
        rows = cells.index_select(0, (index + first).reshape(-1))
        total = total + rows.reshape(-1, count, channels) * weight[..., None]
    return total.transpose(1, 2).reshape(-1, channels, *sizes)


def _corner(
    positions: list[Tensor], sizes: tuple[int, ...], corner: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Number of one of the eight cells around each position, `[B, N]`, and its weight.

    0 outside. Axes are (x, y, z).
    """
    index, weight = torch.zeros_like(positions[0]), torch.ones_like(positions[0])
    for position, size, step in reversed(list(zip(positions, sizes, corner, strict=True))):
        cell = position.floor() + step
        inside = (cell >= 0.0) & (cell <= size - 1.0)
        weight = weight * (1.0 - (position - cell).abs()) * inside.to(weight.dtype)
        index = index * size + cell.clamp(0.0, size - 1.0)
    return index.long(), weight
