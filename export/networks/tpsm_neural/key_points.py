"""Networks for TPSM's key points and the motion of the background.

Coordinates are (x, y) in -1..1. Source: `modules/keypoint_detector.py`,
`modules/bg_motion_predictor.py` and `modules/avd_network.py` of
yoyo-nb/Thin-Plate-Spline-Motion-Model; the last follows "Motion Representations for Articulated
Animation" (CVPR 2021).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from export.networks.tpsm_neural.resnet import ResNet18

SPLINES: Final = 10
POINTS_PER_SPLINE: Final = 5
KEY_POINTS: Final = SPLINES * POINTS_PER_SPLINE
"""Number of key points; 5k..5k+4 belong to spline k."""

BOTTLENECK: Final = 128
"""Width of identity and pose codes in config vox-256; the class default upstream is 64."""


class KeyPointDetector(nn.Module):
    """Picture `[B, 3, 256, 256]`, RGB 0..1 -> key points `[B, 50, 2]`."""

    def __init__(self) -> None:
        super().__init__()
        self.fg_encoder = ResNet18(3, KEY_POINTS * 2)

    def forward(self, picture: Tensor) -> Tensor:
        return (torch.sigmoid(self.fg_encoder(picture)) * 2 - 1).reshape(-1, KEY_POINTS, 2)


class BackgroundPredictor(nn.Module):
    """Source and driving picture -> affine matrix from driving to source coordinates.

    Pictures are `[B, 3, 256, 256]`, the matrix `[B, 3, 3]`. Upstream's demo leaves it out and takes
    the background as still.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bg_encoder = ResNet18(6, 6)

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        rows = self.bg_encoder(torch.cat((source, driving), dim=1)).reshape(-1, 2, 3)
        last = torch.zeros_like(rows[:, :1]) + torch.tensor(
            [0.0, 0.0, 1.0], dtype=rows.dtype, device=rows.device
        )
        return torch.cat((rows, last), dim=1)


class AvdNetwork(nn.Module):
    """Mix of the source's identity with the driving picture's pose.

    Two times `[B, 50, 2]` -> `[B, 50, 2]`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.id_encoder = _perceptron(KEY_POINTS * 2, 256, 512, 1024, BOTTLENECK)
        self.pose_encoder = _perceptron(KEY_POINTS * 2, 256, 512, 1024, BOTTLENECK)
        self.decoder = _perceptron(2 * BOTTLENECK, 1024, 512, 256, KEY_POINTS * 2)

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        codes = torch.cat(
            (self.pose_encoder(driving.flatten(1)), self.id_encoder(source.flatten(1))), dim=1
        )
        return self.decoder(codes).reshape(-1, KEY_POINTS, 2)


def _perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with batch norm and ReLU between them."""
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths[:-1]):
        layers += [nn.Linear(width_in, width_out), nn.BatchNorm1d(width_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
