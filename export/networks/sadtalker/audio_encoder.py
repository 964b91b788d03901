"""16 mel frames (200 ms) of speech to 512 numbers.

Wav2Lip's audio encoder (Prajwal et al., 2020).
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

EMBEDDING: Final = 512
_Stride = int | tuple[int, int]

# Outputs, kernel, stride, padding; a layer of as many inputs as outputs and kernel 3 adds its
# input.
LAYERS: Final[tuple[tuple[int, int, _Stride, int], ...]] = (
    *((32, 3, 1, 1),) * 3,
    (64, 3, (3, 1), 1),
    *((64, 3, 1, 1),) * 2,
    (128, 3, 3, 1),
    *((128, 3, 1, 1),) * 2,
    (256, 3, (3, 2), 1),
    (256, 3, 1, 1),
    (512, 3, 1, 0),
    (512, 1, 1, 0),
)


class ConvNormAdd(nn.Module):
    """Convolution and batch norm, the input added where `residual`, then ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: _Stride, padding: int
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs)
        )
        self.residual = inputs == outputs and kernel == 3

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, D, h, w]`."""
        y = self.conv_block(x)
        return functional.relu(y + x if self.residual else y)


def audio_encoder() -> nn.Sequential:
    """Mel windows `[B, 1, 80, 16]` to `[B, 512, 1, 1]`."""
    inputs = (1, *(layer[0] for layer in LAYERS[:-1]))
    return nn.Sequential(*(ConvNormAdd(i, *layer) for i, layer in zip(inputs, LAYERS, strict=True)))
