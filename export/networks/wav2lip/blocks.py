"""Convolution blocks of all Wav2Lip networks.

The attribute names are upstream's state-dict keys. Source of the architecture: Rudrabha/Wav2Lip,
`models/conv.py`.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from torch import Tensor, nn
from torch.nn import functional

Pair: TypeAlias = int | tuple[int, int]
"""One number for both axes, or (rows, columns)."""

NEGATIVE_SLOPE: Final = 0.01
"""Negative slope of the blocks without normalisation."""


class ConvBlock(nn.Module):
    """Convolution, batch norm, the input added where `residual`, then ReLU.

    `[B, inputs, H, W]` to `[B, outputs, H', W']`; a residual block keeps the shape.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: Pair = 1,
        padding: Pair = 1,
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs)
        )
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalise; the residual is added before the activation."""
        y = self.conv_block(x)
        return functional.relu(y + x if self.residual else y)


class UpConvBlock(nn.Module):
    """Transposed convolution, batch norm, ReLU.

    `[B, inputs, H, W]` to `[B, outputs, 2H, 2W]` with the defaults.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 2,
        padding: int = 1,
        output_padding: int = 1,
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, output_padding),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge and activate."""
        return functional.relu(self.conv_block(x))


class PlainConvBlock(nn.Module):
    """Convolution and leaky ReLU without normalisation.

    `[B, inputs, H, W]` to `[B, outputs, H', W']`.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: Pair = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.LeakyReLU(NEGATIVE_SLOPE)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and activate."""
        return self.conv_block(x)


def residuals(channels: int, count: int) -> list[ConvBlock]:
    """`count` residual blocks that keep `channels`."""
    return [ConvBlock(channels, channels, residual=True) for _ in range(count)]
