"""Wav2Lip's generator: repaints the lower half of a face to fit 200 ms of mel.

Source of the architecture: Prajwal et al. 2020, section 4; Rudrabha/Wav2Lip, `models/wav2lip.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from export.networks.wav2lip.blocks import ConvBlock, UpConvBlock, residuals


class Generator(nn.Module):
    """`mel [B, 1, 80, 16]` and `face [B, 6, 96, 96]` to `patch [B, 3, 96, 96]`, BGR, 0..1.

    The face is the crop with its lower half zeroed, then the reference crop, BGR, 0..1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.face_encoder_blocks = nn.ModuleList(_face_encoder())
        self.audio_encoder = nn.Sequential(*_audio_encoder())
        self.face_decoder_blocks = nn.ModuleList(_face_decoder())
        self.output_block = nn.Sequential(ConvBlock(80, 32), nn.Conv2d(32, 3, 1), nn.Sigmoid())

    def forward(self, mel: Tensor, face: Tensor) -> Tensor:
        """The face with the mouth repainted."""
        return self.decode(self.audio_encoder(mel), self.encode_face(face))

    def encode_face(self, face: Tensor) -> list[Tensor]:
        """Features of the seven encoder stages; they do not depend on the audio.

        From `[B, 16, 96, 96]` down to `[B, 512, 1, 1]`.
        """
        features = []
        for stage in self.face_encoder_blocks:
            face = stage(face)
            features.append(face)
        return features

    def decode_stages(self, audio: Tensor, features: Sequence[Tensor]) -> list[Tensor]:
        """Results of the seven decoder stages for `audio [B, 512, 1, 1]`.

        From `[B, 512, 1, 1]` up to `[B, 64, 96, 96]`. Each stage but the first reads the one before
        it followed by the encoder's features of the same size.
        """
        stages = [self.face_decoder_blocks[0](audio)]
        for stage, skip in zip(self.face_decoder_blocks[1:], reversed(features[1:]), strict=True):
            stages.append(stage(torch.cat((stages[-1], skip), dim=1)))
        return stages

    def decode(self, audio: Tensor, features: Sequence[Tensor]) -> Tensor:
        """The picture of an audio embedding and a face's features."""
        last = self.decode_stages(audio, features)[-1]
        return self.output_block(torch.cat((last, features[0]), dim=1))


def _face_encoder() -> list[nn.Sequential]:
    """Each stage halves the picture: 96, 48, 24, 12, 6, 3, 1."""
    stages = [nn.Sequential(ConvBlock(6, 16, kernel=7, padding=3))]
    for inputs, outputs, extra in (
        (16, 32, 2),
        (32, 64, 3),
        (64, 128, 2),
        (128, 256, 2),
        (256, 512, 1),
    ):
        stages.append(
            nn.Sequential(ConvBlock(inputs, outputs, stride=2), *residuals(outputs, extra))
        )
    stages.append(
        nn.Sequential(ConvBlock(512, 512, padding=0), ConvBlock(512, 512, kernel=1, padding=0))
    )
    return stages


def _audio_encoder() -> list[ConvBlock]:
    """Strides are (mel bands, time): 80x16, 27x16, 9x6, 3x3, 1x1."""
    return [
        ConvBlock(1, 32),
        *residuals(32, 2),
        ConvBlock(32, 64, stride=(3, 1)),
        *residuals(64, 2),
        ConvBlock(64, 128, stride=3),
        *residuals(128, 2),
        ConvBlock(128, 256, stride=(3, 2)),
        *residuals(256, 1),
        ConvBlock(256, 512, padding=0),
        ConvBlock(512, 512, kernel=1, padding=0),
    ]


def _face_decoder() -> list[nn.Sequential]:
    """Decoder; inputs include the encoder's features joined to the stage before."""
    stages = [
        nn.Sequential(ConvBlock(512, 512, kernel=1, padding=0)),
        nn.Sequential(
            UpConvBlock(1024, 512, stride=1, padding=0, output_padding=0), *residuals(512, 1)
        ),
    ]
    for inputs, outputs in ((1024, 512), (768, 384), (512, 256), (320, 128), (160, 64)):
        stages.append(nn.Sequential(UpConvBlock(inputs, outputs), *residuals(outputs, 2)))
    return stages
