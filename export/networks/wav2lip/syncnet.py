"""Wav2Lip's sync expert: a score of the fit between five mouths and 200 ms of mel.

Not the SyncNet of the LSE-D and LSE-C numbers of the literature, which is `joonson/syncnet_python`.
Source of the architecture: Prajwal et al. 2020, section 3; Rudrabha/Wav2Lip, `models/syncnet.py`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from export.networks.wav2lip.blocks import ConvBlock, residuals


class SyncNet(nn.Module):
    """`mel [B, 1, 80, 16]` and `window [B, 15, 48, 96]` to an audio and a face embedding.

    Embeddings are `[B, 512]` of length 1. The window is the lower half of five consecutive BGR
    frames, 0..1, joined along the channels; the mel starts at the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.face_encoder = nn.Sequential(*_face_encoder())
        self.audio_encoder = nn.Sequential(*_audio_encoder())

    def forward(self, mel: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings; their cosine is in 0..1, since the last activation is a ReLU."""
        audio = functional.normalize(self.audio_encoder(mel)[:, :, 0, 0], dim=1)
        return audio, functional.normalize(self.face_encoder(window)[:, :, 0, 0], dim=1)


def _face_encoder() -> list[ConvBlock]:
    """48x96, 46x47, 23x24, 12x12, 6x6, 3x3, 1x1."""
    return [
        ConvBlock(15, 32, kernel=7, padding=3),
        ConvBlock(32, 64, kernel=5, stride=(1, 2)),
        *residuals(64, 2),
        ConvBlock(64, 128, stride=2),
        *residuals(128, 3),
        ConvBlock(128, 256, stride=2),
        *residuals(256, 2),
        ConvBlock(256, 512, stride=2),
        *residuals(512, 2),
        ConvBlock(512, 512, stride=2),
        ConvBlock(512, 512, padding=0),
        ConvBlock(512, 512, kernel=1, padding=0),
    ]


def _audio_encoder() -> list[ConvBlock]:
    """The generator's encoder with one more residual block at 256 channels.

    Their weights are not interchangeable.
    """
    return [
        ConvBlock(1, 32),
        *residuals(32, 2),
        ConvBlock(32, 64, stride=(3, 1)),
        *residuals(64, 2),
        ConvBlock(64, 128, stride=3),
        *residuals(128, 2),
        ConvBlock(128, 256, stride=(3, 2)),
        *residuals(256, 2),
        ConvBlock(256, 512, padding=0),
        ConvBlock(512, 512, kernel=1, padding=0),
    ]
