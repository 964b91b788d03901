"""Canonical 3-D key points of a photo.

They are unsupervised: their meaning is defined by the renderer that was trained with them.
Architecture: face-vid2vid; upstream `src/facerender/modules/keypoint_detector.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.sadtalker.blocks import Down2d, Up3d, spatial_sizes
from export.networks.sadtalker.grids import identity_grid

KEY_POINTS: Final = 15
DEPTH: Final = 16
TEMPERATURE: Final = 0.1
WIDTHS: Final = (64, 128, 256, 512, 1024)


class KeyPointExtractor(nn.Module):
    """Picture `[B, 3, 256, 256]`, RGB 0..1, to key points `[B, 15, 3]` (x, y, z), each -1..1."""

    def __init__(self) -> None:
        super().__init__()
        self.predictor = KeyPointHourglass()
        self.kp = nn.Conv3d(32, KEY_POINTS, 3, padding=1)
        self.down = QuarterSize()

    def forward(self, picture: Tensor) -> Tensor:
        """Centres of gravity of the 15 attention maps."""
        logits = self.kp(self.predictor(self.down(picture)))
        attention = functional.softmax(logits.flatten(2) / TEMPERATURE, dim=2)
        # Summed in pairs: a matrix product over 65536 cells is four times as far from the exact
        # sum.
        return (attention[..., None] * identity_grid(logits).reshape(-1, 3)).sum(dim=2)


class QuarterSize(nn.Module):
    """Quarter size: blur with a 13x13 Gaussian of sigma 1.5, then every fourth pixel.

    `weight` is computed, not learned.
    """

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        profile = np.exp(-(np.arange(-6.0, 7.0) ** 2) / (2.0 * 1.5**2))
        kernel = np.outer(profile, profile) / profile.sum() ** 2
        self.register_buffer(
            "weight", torch.from_numpy(np.tile(kernel.astype(np.float32), (3, 1, 1, 1)))
        )

    def forward(self, picture: Tensor) -> Tensor:
        """`[B, 3, H, W]` to `[B, 3, H/4, W/4]`."""
        return functional.conv2d(picture, self.weight, stride=4, padding=6, groups=3)


class KeyPointHourglass(nn.Module):
    """`[B, 3, 64, 64]` down to 2x2, and up to `[B, 32, 16, 64, 64]`.

    Unfolded into 16 layers of depth in between.
    """

    def __init__(self) -> None:
        super().__init__()
        inputs, outputs = (3, *WIDTHS[:-1]), (*reversed(WIDTHS[:-1]), 32)
        self.down_blocks = nn.Sequential(
            OrderedDict((f"down{i}", Down2d(inputs[i], WIDTHS[i])) for i in range(5))
        )
        self.conv = nn.Conv2d(WIDTHS[-1], WIDTHS[-1] * DEPTH, 1)
        self.up_blocks = nn.Sequential(
            OrderedDict((f"up{i}", Up3d(WIDTHS[4 - i], outputs[i])) for i in range(5))
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Features of the volume in front of the camera."""
        flat = self.conv(self.down_blocks(picture))
        return self.up_blocks(flat.reshape(-1, WIDTHS[-1], DEPTH, *spatial_sizes(flat)))
