"""The network: two stacks of convolutions over pairs of mel frames, one wide and one narrow.

Together they see exactly the served window.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from orchestrator.rendering.motion import MOUTH_PARAMETERS

WINDOW_FRAMES: Final = 88
STEPS: Final = 16
CONTEXT_FRAMES: Final = WINDOW_FRAMES - STEPS
"""Frames of a crop beyond its outputs: those before the first output, and the look-ahead."""
AHEAD_FRAMES: Final = 6
_DILATIONS: Final = (1, 1, 2, 2, 4, 4, 4)
"""The wide stack: the whole window at once, its middle 300 ms before the output."""
_NARROW_BLOCKS: Final = AHEAD_FRAMES // 2
_NARROW_CHANNELS: Final = 96
"""The narrow stack: only the look-ahead and as much before it.

Its middle lies at the output, where lips need the finest detail.
"""
_BANDS: Final = 80
_MEAN, _SCALE = -7.0, 4.0
"""Rough mean and spread of log-mel of speech at -26 dB of full scale.

Digital silence is at -2.9.
"""


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


class Tail(nn.Module):
    """A residual layer on every moment separately: cheap, as only the outputs' moments are left."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, 2 * channels, 1, bias=False)
        self.norm = nn.BatchNorm1d(2 * channels)
        self.back = nn.Conv1d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.back(torch.relu(self.norm(self.convolution(x))))
        return result


class MouthNet(nn.Module):
    """Log-mel `[batch, frames, 80]` -> mouth `[batch, frames - 72, 7]`, each 0..1.

    `frames` is even. Two frames are one step inside, which doubles the context for the same
    arithmetic.
    """

    def __init__(self, channels: int = 128) -> None:
        super().__init__()
        assert 2 * 2 * sum(_DILATIONS) == CONTEXT_FRAMES
        self.entry = nn.Conv1d(2 * _BANDS, channels, 1)
        self.blocks = nn.Sequential(*(Block(channels, dilation) for dilation in _DILATIONS))
        self.near_entry = nn.Conv1d(2 * _BANDS, _NARROW_CHANNELS, 1)
        self.near_blocks = nn.Sequential(
            *(Block(_NARROW_CHANNELS, 1) for _ in range(_NARROW_BLOCKS))
        )
        self.joint = nn.Conv1d(channels, _NARROW_CHANNELS, 1)
        self.tail = Tail(_NARROW_CHANNELS)
        self.mouth = nn.Conv1d(channels, 2 * len(MOUTH_PARAMETERS), 1)
        self.viseme = nn.Conv1d(channels, 2 * 15, 1)
        self.near_mouth = nn.Conv1d(_NARROW_CHANNELS, 2 * len(MOUTH_PARAMETERS), 1)
        self.near_viseme = nn.Conv1d(_NARROW_CHANNELS, 2 * 15, 1)
        for layer in (self.near_mouth, self.near_viseme):
            assert layer.bias is not None
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def hidden(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        pairs = (
            ((mel - _MEAN) / _SCALE)
            .reshape(mel.shape[0], mel.shape[1] // 2, 2 * _BANDS)
            .transpose(1, 2)
        )
        far: Tensor = self.blocks(self.entry(pairs))
        first = (CONTEXT_FRAMES - 2 * AHEAD_FRAMES) // 2
        near = self.near_blocks(self.near_entry(pairs[:, :, first:]))
        return far, self.tail(near + self.joint(far))

    def forward(self, mel: Tensor) -> Tensor:
        far, near = self.hidden(mel)
        return torch.sigmoid(_unpaired(self.mouth(far) + self.near_mouth(near)))

    def both(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Mouth, and viseme logits `[batch, frames - 72, 15]`, which only help training."""
        far, near = self.hidden(mel)
        return torch.sigmoid(_unpaired(self.mouth(far) + self.near_mouth(near))), _unpaired(
            self.viseme(far) + self.near_viseme(near)
        )


def _unpaired(x: Tensor) -> Tensor:
    """`[batch, 2 * n, pairs]` -> `[batch, 2 * pairs, n]`."""
    batch, channels, pairs = x.shape
    return x.transpose(1, 2).reshape(batch, 2 * pairs, channels // 2)
