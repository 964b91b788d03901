"""Wav2Lip's visual quality discriminator, a classifier of real mouths.

Used in training only; kept so that its checkpoint loads. Source of the architecture:
Rudrabha/Wav2Lip, `models/wav2lip.py`.
"""

from __future__ import annotations

from torch import Tensor, nn

from export.networks.wav2lip.blocks import PlainConvBlock


class QualityDiscriminator(nn.Module):
    """`frames [B, 3, T, 96, 96]`, BGR, 0..1, to the probability `[T * B, 1]` that each is real.

    All first frames come first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.face_encoder_blocks = nn.ModuleList(_stages())
        self.binary_pred = nn.Sequential(nn.Conv2d(512, 1, 1), nn.Sigmoid())

    def forward(self, frames: Tensor) -> Tensor:
        """Score the lower half of each frame."""
        lower = frames.transpose(1, 2).transpose(0, 1).flatten(0, 1)[:, :, frames.shape[3] // 2 :]
        for stage in self.face_encoder_blocks:
            lower = stage(lower)
        return self.binary_pred(lower)[:, :, 0, 0]


def _stages() -> list[nn.Sequential]:
    """48x96, 48x48, 24x24, 12x12, 6x6, 3x3, 1x1."""
    return [
        nn.Sequential(PlainConvBlock(3, 32, 7, padding=3)),
        nn.Sequential(
            PlainConvBlock(32, 64, 5, stride=(1, 2), padding=2),
            PlainConvBlock(64, 64, 5, padding=2),
        ),
        nn.Sequential(
            PlainConvBlock(64, 128, 5, stride=2, padding=2), PlainConvBlock(128, 128, 5, padding=2)
        ),
        nn.Sequential(
            PlainConvBlock(128, 256, 5, stride=2, padding=2), PlainConvBlock(256, 256, 5, padding=2)
        ),
        nn.Sequential(
            PlainConvBlock(256, 512, 3, stride=2, padding=1), PlainConvBlock(512, 512, 3, padding=1)
        ),
        nn.Sequential(
            PlainConvBlock(512, 512, 3, stride=2, padding=1), PlainConvBlock(512, 512, 3, padding=1)
        ),
        nn.Sequential(PlainConvBlock(512, 512, 3), PlainConvBlock(512, 512, 1)),
    ]
