"""The network: dilated convolutions over pairs of mel frames; it sees exactly the window that is served."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from orchestrator.motion import MOUTH_PARAMETERS

WINDOW_FRAMES: Final = 88
STEPS: Final = 16
CONTEXT_FRAMES: Final = WINDOW_FRAMES - STEPS
"""Frames a crop has more than its outputs: those before the first output, and the look-ahead."""
_DILATIONS: Final = (1, 1, 2, 2, 4, 4, 4)
_BANDS: Final = 80
_MEAN, _SCALE = -7.0, 4.0
"""Rough mean and spread of log-mel of speech at -26 dB of full scale; digital silence is at -2.9."""


class Block(nn.Module):
    """A residual dilated convolution without padding: time gets shorter by `2 * dilation`."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.convolution = nn.Conv1d(channels, channels, 3, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = x[:, :, self.dilation : x.shape[2] - self.dilation]
        result: Tensor = inner + torch.relu(self.norm(self.convolution(x)))
        return result


class MouthNet(nn.Module):
    """Log-mel `[batch, frames, 80]` -> mouth `[batch, frames - 72, 7]`, each 0..1; `frames` is even.

    Two frames are one step inside, which doubles what the same arithmetic can see.
    """

    def __init__(self, channels: int = 112) -> None:
        super().__init__()
        assert 2 * 2 * sum(_DILATIONS) == CONTEXT_FRAMES
        self.entry = nn.Conv1d(2 * _BANDS, channels, 1)
        self.blocks = nn.Sequential(*(Block(channels, dilation) for dilation in _DILATIONS))
        self.mouth = nn.Conv1d(channels, 2 * len(MOUTH_PARAMETERS), 1)
        self.viseme = nn.Conv1d(channels, 2 * 15, 1)

    def hidden(self, mel: Tensor) -> Tensor:
        pairs = ((mel - _MEAN) / _SCALE).reshape(mel.shape[0], mel.shape[1] // 2, 2 * _BANDS)
        result: Tensor = self.blocks(self.entry(pairs.transpose(1, 2)))
        return result

    def forward(self, mel: Tensor) -> Tensor:
        return torch.sigmoid(_unpaired(self.mouth(self.hidden(mel))))

    def both(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Mouth, and viseme logits `[batch, frames - 72, 15]`, which only help training."""
        hidden = self.hidden(mel)
        return torch.sigmoid(_unpaired(self.mouth(hidden))), _unpaired(self.viseme(hidden))


def _unpaired(x: Tensor) -> Tensor:
    """`[batch, 2 * n, pairs]` -> `[batch, 2 * pairs, n]`."""
    batch, channels, pairs = x.shape
    return x.transpose(1, 2).reshape(batch, 2 * pairs, channels // 2)
