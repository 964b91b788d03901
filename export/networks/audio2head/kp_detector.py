"""Key points of the source picture, once per picture (upstream `modules/keypoint_detector.py`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.networks.audio2head.key_points import (
    KEY_POINTS,
    KeyPoints,
    identity_bias,
    soft_key_points,
)
from export.networks.audio2head.layers import AntiAliasDown, Hourglass


class KpDetector(nn.Module):
    """A hourglass on the quarter-size picture, then maps without padding.

    One map per key point and four per jacobian.
    """

    def __init__(self) -> None:
        super().__init__()
        self.predictor = Hourglass(inputs=3, base=32, widest=1024)
        self.kp = nn.Conv2d(self.predictor.outputs, KEY_POINTS, 7)
        self.jacobian = nn.Conv2d(self.predictor.outputs, 4 * KEY_POINTS, 7)
        self.down = AntiAliasDown(3)
        assert self.jacobian.bias is not None
        with torch.no_grad():
            self.jacobian.bias.copy_(identity_bias())

    def maps(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B, 10, 58, 58]` and jacobian entries `[B, 40, 58, 58]`.

        Of pictures `[B, 3, 256, 256]`, RGB 0..1.
        """
        features = self.predictor(self.down(picture))
        return self.kp(features), self.jacobian(features)

    def forward(self, picture: Tensor) -> KeyPoints:
        """Key points of `[B, 3, 256, 256]`."""
        return soft_key_points(*self.maps(picture))
