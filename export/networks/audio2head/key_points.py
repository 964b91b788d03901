"""From maps to key points: a soft choice of place, and the local affine change around it."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from export.networks.audio2head.layers import coordinate_grid

KEY_POINTS: Final = 10
TEMPERATURE: Final = 0.1


class KeyPoints(NamedTuple):
    """Places and local affine changes of `[B]` pictures."""

    value: Tensor
    """`[B, 10, 2]`, (x, y) in -1..1."""
    jacobian: Tensor
    """`[B, 10, 2, 2]`."""


def soft_key_points(logits: Tensor, jacobian_maps: Tensor) -> KeyPoints:
    """Key points of `logits` `[B, 10, h, w]` and `jacobian_maps` `[B, 40, h, w]` (four a key point, row major).

    Both are means over the map, weighted by its softmax at temperature 0.1, which stays in float32.
    """
    batch, points, height, width = logits.shape
    weights = torch.softmax(logits.reshape(batch, points, height * width) / TEMPERATURE, dim=2)
    grid = coordinate_grid(height, width).to(logits.device).reshape(height * width, 2)
    value = (weights[..., None] * grid).sum(dim=2)
    entries = jacobian_maps.reshape(batch, points, 4, height * width)
    jacobian = (weights[:, :, None] * entries).sum(dim=3)
    return KeyPoints(value, jacobian.reshape(batch, points, 2, 2))


def identity_bias() -> Tensor:
    """`[40]`: what the jacobians' bias starts from, the identity for each key point, so that they can be inverted."""
    return torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(KEY_POINTS)


def inverse_2x2(matrix: Tensor) -> Tensor:
    """Inverses of `[..., 2, 2]` in closed form, because no exporter knows a general inverse."""
    a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
    adjugate = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    return adjugate / (a * d - b * c)[..., None, None]
