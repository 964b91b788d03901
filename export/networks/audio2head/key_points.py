"""Key points from maps: a soft choice of place, and the local affine change around it."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from export.networks.audio2head.layers import coordinate_grid

KEY_POINTS: Final = 10
MAP_SIZE: Final = 58
"""Side of the maps: 64 less what a 7 x 7 convolution without padding loses."""
TEMPERATURE: Final = 0.1


class KeyPoints(NamedTuple):
    """Places and local affine changes of `[B]` pictures."""

    value: Tensor
    """`[B, 10, 2]`, (x, y) in -1..1."""
    jacobian: Tensor
    """`[B, 10, 2, 2]`."""


def soft_key_points(logits: Tensor, jacobian_maps: Tensor) -> KeyPoints:
    """Key points of `logits` `[B, 10, 58, 58]` and `jacobian_maps` `[B, 40, 58, 58]`.

    Jacobians have four maps a key point, row major. Both are means over the map, weighted by its
    softmax at temperature 0.1, which stays in float32.
    """
    weights = torch.softmax(logits.reshape(-1, KEY_POINTS, MAP_SIZE**2) / TEMPERATURE, dim=2)
    grid = coordinate_grid(MAP_SIZE, MAP_SIZE).to(logits.device).reshape(MAP_SIZE**2, 2)
    value = (weights[..., None] * grid).sum(dim=2)
    entries = jacobian_maps.reshape(-1, KEY_POINTS, 4, MAP_SIZE**2)
    jacobian = (weights[:, :, None] * entries).sum(dim=3)
    return KeyPoints(value, jacobian.reshape(-1, KEY_POINTS, 2, 2))


def identity_bias() -> Tensor:
    """`[40]`: initial bias of the jacobians, the identity for each key point.

    So that they can be inverted.
    """
    return torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(KEY_POINTS)


def inverse_2x2(matrix: Tensor) -> Tensor:
    """Inverses of `[..., 2, 2]` in closed form, because no exporter has a general inverse."""
    a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
    adjugate = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    return adjugate / (a * d - b * c)[..., None, None]
