"""Mapping of a moment's 3DMM coefficients to head pose and key points.

Architecture: PIRenderer's mapping net (Ren et al., ICCV 2021) with face-vid2vid's pose bins;
upstream `src/facerender/modules/mapping.py` and `make_animation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.sadtalker.key_points import KEY_POINTS

ANGLE_BINS: Final = 66
"""Bins of three degrees, the first at -99."""

RADIANS_PER_DEGREE: Final = 3.14 / 180.0
"""Upstream's own value of pi; the checkpoints were trained with it."""


@dataclass(frozen=True, slots=True)
class HeadMotion:
    """Rotation as logits of angle bins, translation and the key points' own motion."""

    yaw: Tensor
    """`[B, 66]`; so are pitch and roll."""
    pitch: Tensor
    roll: Tensor
    translation: Tensor
    """`[B, 3]`."""
    expression: Tensor
    """`[B, 45]`: 15 key points of (x, y, z)."""


class CoefficientMapping(nn.Module):
    """Coefficient window `[B, C, 27]` to the head motion at its middle.

    C is 70, or 73 with the crop's numbers.
    """

    def __init__(self, coefficients: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(coefficients, 1024, 7))
        self.encoder0, self.encoder1, self.encoder2 = (_dilated() for _ in range(3))
        self.fc_roll, self.fc_pitch, self.fc_yaw = (nn.Linear(1024, ANGLE_BINS) for _ in range(3))
        self.fc_t = nn.Linear(1024, 3)
        self.fc_exp = nn.Linear(1024, 45)

    def forward(self, window: Tensor) -> HeadMotion:
        """27 columns shrink to 21, 15, 9, 3; their mean feeds the heads."""
        x = self.first(window)
        for encoder in (self.encoder0, self.encoder1, self.encoder2):
            x = encoder(x) + x[:, :, 3:-3]
        x = x.mean(dim=2)
        return HeadMotion(
            self.fc_yaw(x), self.fc_pitch(x), self.fc_roll(x), self.fc_t(x), self.fc_exp(x)
        )


def _dilated() -> nn.Sequential:
    return nn.Sequential(nn.LeakyReLU(0.1), nn.Conv1d(1024, 1024, 3, dilation=3))


def degrees(logits: Tensor) -> Tensor:
    """Expected angle `[B]` of bins `[B, 66]`."""
    bins = torch.arange(ANGLE_BINS, dtype=logits.dtype, device=logits.device)
    return (functional.softmax(logits, dim=1) * bins).sum(dim=1) * 3.0 - 99.0


def rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """`[B, 3, 3]` = Rx(pitch) Ry(yaw) Rz(roll) of angles `[B]` in degrees."""
    (sin_y, cos_y), (sin_x, cos_x), (sin_z, cos_z) = (
        (torch.sin(angle), torch.cos(angle))
        for angle in (value * RADIANS_PER_DEGREE for value in (yaw, pitch, roll))
    )
    one, zero = torch.ones_like(sin_x), torch.zeros_like(sin_x)
    about_x = _matrix((one, zero, zero), (zero, cos_x, -sin_x), (zero, sin_x, cos_x))
    about_y = _matrix((cos_y, zero, sin_y), (zero, one, zero), (-sin_y, zero, cos_y))
    about_z = _matrix((cos_z, -sin_z, zero), (sin_z, cos_z, zero), (zero, zero, one))
    return about_x @ about_y @ about_z


def _matrix(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def moved_key_points(
    canonical: Tensor, motion: HeadMotion, view_degrees: Tensor | None = None
) -> Tensor:
    """Canonical key points `[B, 15, 3]` turned, shifted and expressed: `[B, 15, 3]`.

    `view_degrees` `[B, 3]` (yaw, pitch, roll) replaces the predicted angles. Only the vertical
    translation counts.
    """
    angles = (degrees(motion.yaw), degrees(motion.pitch), degrees(motion.roll))
    if view_degrees is not None:
        angles = (view_degrees[:, 0], view_degrees[:, 1], view_degrees[:, 2])
    turned = canonical @ rotation(*angles).transpose(1, 2)
    vertical = motion.translation * motion.translation.new_tensor([0.0, 1.0, 0.0])
    return turned + vertical[:, None] + motion.expression.reshape(-1, KEY_POINTS, 3)
