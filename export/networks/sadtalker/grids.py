"""Coordinates and warps of volumes, written without a 5-D sampler so that every runtime has the operators.

All follow upstream's two conventions at once: grids reach from -1 at the first cell's centre to 1 at the last one's, but samples
are taken as `grid_sample(align_corners=False)` does, where -1 and 1 are the outer edges. An identity grid is therefore no
identity warp; the checkpoints were trained with it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def axis_coordinates(size: int, like: Tensor) -> Tensor:
    """`[size]` from -1 to 1, both ends included."""
    return 2.0 * (torch.arange(size, dtype=like.dtype, device=like.device) / (size - 1)) - 1.0


def identity_grid(volume: Tensor) -> Tensor:
    """`[D, H, W, 3]` of (x, y, z) for the last three axes of a volume."""
    z, y, x = torch.meshgrid(*(axis_coordinates(size, volume) for size in volume.shape[-3:]), indexing="ij")
    return torch.stack((x, y, z), dim=-1)


def translated(volume: Tensor, shifts: Tensor) -> Tensor:
    """A volume `[B, C, D, H, W]` sampled at the identity grid plus each of `shifts` `[B, K, 3]` (x, y, z): `[B, K, C, D, H, W]`.

    A translation separates, so trilinear sampling with zeros outside is one small matrix product per axis.
    """
    batch, channels, depth, height, width = volume.shape
    count = shifts.shape[1]
    along_x, along_y, along_z = (
        _interpolation(size, shifts[..., axis]) for axis, size in enumerate((width, height, depth))
    )
    warped = torch.matmul(volume[:, None], along_x.transpose(-1, -2)[:, :, None, None])
    warped = torch.matmul(along_y[:, :, None, None], warped)
    flat = warped.reshape(batch, count, channels, depth, height * width)
    return torch.matmul(along_z[:, :, None], flat).reshape(batch, count, channels, depth, height, width)


def _interpolation(size: int, shift: Tensor) -> Tensor:
    """Weights `[B, K, size, size]` of the cells (last axis) that each output reads; shifts `[B, K]`."""
    coordinates = axis_coordinates(size, shift) + shift[..., None]
    positions = _position(coordinates, size)
    cells = torch.arange(size, dtype=shift.dtype, device=shift.device)
    return (1.0 - (positions[..., None] - cells).abs()).clamp(min=0.0)


def _position(coordinate: Tensor, size: int) -> Tensor:
    """Cell index (a real number) that `grid_sample(align_corners=False)` reads for a coordinate."""
    return ((coordinate + 1.0) * size - 1.0) / 2.0


def warped(volume: Tensor, grid: Tensor) -> Tensor:
    """A volume `[B, C, D, H, W]` sampled at `grid` `[B, D', H', W', 3]` with zeros outside: `[B, C, D', H', W']`.

    Trilinear: the eight cells around each point are gathered and weighted.
    """
    batch, channels, depth, height, width = volume.shape
    sizes = (width, height, depth)
    points = grid.reshape(batch, -1, 3)
    positions = [_position(points[..., axis], sizes[axis]) for axis in range(3)]
    floors = [position.floor() for position in positions]
    cells = volume.reshape(batch, channels, depth * height * width)
    total = torch.zeros_like(points[:, None, :, 0])
    for corner in range(8):
        index, weight = torch.zeros_like(floors[0]), torch.ones_like(floors[0])
        for axis in (2, 1, 0):
            cell = floors[axis] + float(corner >> axis & 1)
            inside = (cell >= 0.0) & (cell <= sizes[axis] - 1.0)
            weight = weight * (1.0 - (positions[axis] - cell).abs()) * inside.to(weight.dtype)
            index = index * sizes[axis] + cell.clamp(0.0, sizes[axis] - 1.0)
        picked = torch.gather(cells, 2, index.long()[:, None].expand(-1, channels, -1))
        total = total + picked * weight[:, None]
    return total.reshape(batch, channels, *grid.shape[1:4])
