"""Block that two of the public models share, under the names that both give its tensors."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Residual3d(nn.Module):
    """Two convolutions of a volume with their norms and ReLUs before them, added to the input.

    Sources: `modules/util.py` of Audio2Head, `src/facerender/modules/util.py` of SadTalker.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm3d(channels)
        self.norm2 = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, D, H, W]`, the same size out; Audio2Head's first axis of three is time."""
        hidden = self.conv1(functional.relu(self.norm1(x)))
        return x + self.conv2(functional.relu(self.norm2(hidden)))
