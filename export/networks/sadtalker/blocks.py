"""Convolution blocks of the key point extractor and the face renderer.

Architecture: face-vid2vid (Wang et al., CVPR 2021); upstream `src/facerender/modules/util.py`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def spatial_sizes(x: Tensor) -> tuple[int, ...]:
    """All sizes after batch and channels, as plain numbers.

    A traced graph then holds them as constants.
    """
    return tuple(int(size) for size in x.shape[2:])


class ConvNorm2d(nn.Module):
    """3x3 convolution, batch norm, and a leaky ReLU (slope 0: ReLU).

    `[B, C, H, W]` to `[B, D, H, W]`.
    """

    def __init__(self, inputs: int, outputs: int, slope: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """The activated map."""
        y = self.norm(self.conv(x))
        return functional.leaky_relu(y, self.slope) if self.slope else functional.relu(y)


class Down2d(ConvNorm2d):
    """`[B, C, H, W]` to `[B, D, H/2, W/2]`."""

    def forward(self, x: Tensor) -> Tensor:
        """The map at half the size."""
        return functional.avg_pool2d(super().forward(x), 2)


class ConvNorm3d(nn.Module):
    """3x3x3 convolution, batch norm, ReLU; `[B, C, D, H, W]` to `[B, E, D, H, W]`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The activated volume."""
        return functional.relu(self.norm(self.conv(x)))


class Down3d(ConvNorm3d):
    """Halves height and width; the depth stays."""

    def forward(self, x: Tensor) -> Tensor:
        """The volume at half the height and width."""
        return functional.avg_pool3d(super().forward(x), (1, 2, 2))


class Up3d(ConvNorm3d):
    """Doubles height and width (nearest), then convolves; the depth stays."""

    def forward(self, x: Tensor) -> Tensor:
        """The volume at twice the height and width."""
        return super().forward(functional.interpolate(x, scale_factor=(1, 2, 2)))
