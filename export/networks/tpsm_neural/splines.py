"""Thin-plate splines, affine background and heat maps of TPSM's key points.

In operations that ONNX and TensorRT have. Source: sections 3.1 and 3.2 of Zhao and Zhang,
"Thin-Plate Spline Motion Model for Image Animation" (CVPR 2022), and `modules/util.py` upstream.
Coordinates are (x, y) in -1..1 with pixel centres at both ends (`align_corners=True`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

RIDGE: Final = 0.01
"""Ridge on the whole diagonal of the 8x8 systems: splines need not meet their points exactly."""

MIN_SQUARE: Final = 1e-9
"""Lower bound of squares under the logarithm.

As a maximum, since graph optimisers replace upstream's sum `r2 + 1e-9` by `r2`.
"""

HEAT_VARIANCE: Final = 0.01
"""Variance of the Gaussians around key points, in squared coordinates."""


class Splines(NamedTuple):
    """Maps from driving to source coordinates.

    z -> theta [z, 1] + sum_i weights_i U(|z - centres_i|^2).
    """

    theta: Tensor
    """Affine part, `[B, K, 2, 3]`."""
    weights: Tensor
    """Bending around each driving point, `[B, K, 5, 2]`."""
    centres: Tensor
    """The driving points, `[B, K, 5, 2]`."""


def coordinate_grid(height: int, width: int, like: Tensor) -> Tensor:
    """(x, y) of every pixel, `[height, width, 2]`, on the device and in the dtype of `like`."""
    # plain numbers while tracing too: the grid is then a constant of the graph
    height, width = (
        int(height),
        int(width),
    )
    x = 2 * torch.arange(width, dtype=like.dtype, device=like.device) / (width - 1) - 1
    y = 2 * torch.arange(height, dtype=like.dtype, device=like.device) / (height - 1) - 1
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=-1)


def fit_splines(driving: Tensor, source: Tensor) -> Splines:
    """Splines that take driving points to source points, both `[B, K, 5, 2]`."""
    points = int(driving.shape[-2])
    affine = torch.cat((driving, torch.ones_like(driving[..., :1])), dim=-1)
    bending = _radial(_square_distances(driving, driving))
    corner = torch.zeros_like(affine[..., :3, :])
    system = torch.cat(
        (torch.cat((bending, affine), -1), torch.cat((affine.transpose(-1, -2), corner), -1)),
        dim=-2,
    )
    system = system + RIDGE * torch.eye(points + 3, dtype=driving.dtype, device=driving.device)
    solution = solve(system, torch.cat((source, torch.zeros_like(source[..., :3, :])), dim=-2))
    return Splines(solution[..., points:, :].transpose(-1, -2), solution[..., :points, :], driving)


def apply_splines(splines: Splines, grid: Tensor) -> Tensor:
    """Places of the grid's points `[H, W, 2]` in the source: `[B, K, H, W, 2]`."""
    height, width, splines_per_face = (
        int(grid.shape[0]),
        int(grid.shape[1]),
        int(splines.theta.shape[1]),
    )
    points = grid.reshape(1, 1, -1, 2)
    moved = points @ splines.theta[..., :2].transpose(-1, -2) + splines.theta[..., None, :, 2]
    moved = moved + _radial(_square_distances(points, splines.centres)) @ splines.weights
    return moved.reshape(-1, splines_per_face, height, width, 2)


def apply_affine(matrix: Tensor, grid: Tensor) -> Tensor:
    """Homogeneous matrices `[B, 3, 3]` on points `[H, W, 2]`: `[B, 1, H, W, 2]`."""
    homogeneous = torch.cat((grid, torch.ones_like(grid[..., :1])), dim=-1)
    moved = homogeneous @ matrix[:, None, None].transpose(-1, -2)
    return moved[..., :2] / moved[..., 2:]


def heat_maps(driving: Tensor, source: Tensor, grid: Tensor) -> Tensor:
    """Gaussians around driving points minus those around source points, `[B, N+1, H, W]`.

    Both are `[B, N, 2]`. The first map stands for the background and is zero.
    """
    maps = _gaussians(driving, grid) - _gaussians(source, grid)
    return torch.cat((torch.zeros_like(maps[:, :1]), maps), dim=1)


def solve(system: Tensor, right: Tensor) -> Tensor:
    """X of `system @ X = right`, unrolled over the N columns.

    `[..., N, N]`, `[..., N, M]` -> `[..., N, M]`.

    QR by Gram-Schmidt, each column made orthogonal twice: as accurate as LAPACK in float32. ONNX
    has no inverse, and elimination without pivoting loses digits where the points of a spline lie
    close together.
    """
    basis, upper = _orthogonalise(system)
    target = basis.transpose(-1, -2) @ right
    last = system.shape[-1] - 1
    rows = target[..., last:, :] / upper[last][..., last:, :]
    for row in range(last - 1, -1, -1):
        column_part = torch.cat(
            [upper[column][..., row : row + 1, :] for column in range(row + 1, last + 1)], dim=-1
        )
        value = (target[..., row : row + 1, :] - column_part @ rows) / upper[row][
            ..., row : row + 1, :
        ]
        rows = torch.cat((value, rows), dim=-2)
    return rows


def _orthogonalise(system: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Orthonormal columns `[..., N, N]`, and the columns of the triangle.

    For each column its upper part `[..., column + 1, 1]`.
    """
    basis, upper = system[..., :0], []
    for column in range(system.shape[-1]):
        rest = system[..., column : column + 1]
        parts = []
        if column:
            first = basis.transpose(-1, -2) @ rest
            rest = rest - basis @ first
            second = basis.transpose(-1, -2) @ rest
            rest = rest - basis @ second
            parts = [first + second]
        length = rest.square().sum(dim=-2, keepdim=True).sqrt()
        upper.append(torch.cat([*parts, length], dim=-2))
        basis = torch.cat((basis, rest / length), dim=-1) if column else rest / length
    return basis, upper


def _square_distances(points: Tensor, centres: Tensor) -> Tensor:
    return (points[..., :, None, :] - centres[..., None, :, :]).square().sum(dim=-1)


def _radial(square_distance: Tensor) -> Tensor:
    return square_distance * torch.log(square_distance.clamp(min=MIN_SQUARE))


def _gaussians(points: Tensor, grid: Tensor) -> Tensor:
    square_distance = (grid - points[:, :, None, None]).square().sum(dim=-1)
    return torch.exp(-square_distance / (2 * HEAT_VARIANCE))
