"""Wav2Lip's networks as they are served.

Pictures are bytes, names are readable, and the arithmetic of pictures is inside the graph. Bytes
are cast at the graphs' very borders: TensorRT has them as inputs and outputs only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from export.networks.wav2lip.generator import Generator
from export.networks.wav2lip.quality_discriminator import QualityDiscriminator
from export.networks.wav2lip.s3fd import S3fd
from export.networks.wav2lip.syncnet import SyncNet

FACE_SIZE: Final = 96

FIRST_PAINTED_ROW: Final = 39
"""First row of a patch that `ServedMouth` computes.

The live path shows no row above it (its mask begins at row 42).
"""

DECODER_CROPS: Final = {4: 3, 5: 8, 6: 18}
"""First row that a decoder stage reads of the stage before.

A transposed convolution on rows from i gives exact rows from 2i, each 3x3 convolution after it
spoils one more at the cut: a stage is exact from 2i + 2. The output block's input begins there, at
38, and it spoils one row itself.
"""


class ServedFaceEncoder(nn.Module):
    """`face [B, 96, 96, 3]` (RGB bytes) to seven features.

    The same for every frame of a still face.
    """

    upper_half: Tensor

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        upper = torch.zeros(1, 1, FACE_SIZE, 1)
        upper[:, :, : FACE_SIZE // 2] = 1.0
        self.register_buffer("upper_half", upper, persistent=False)

    def forward(self, face: Tensor) -> tuple[Tensor, ...]:
        """`[B, 16, 96, 96]` down to `[B, 512, 1, 1]`."""
        crop = bgr(face) / 255.0
        return tuple(self.generator.encode_face(torch.cat((crop * self.upper_half, crop), dim=1)))


class ServedMouth(nn.Module):
    """`mel [B, 16, 80]` and `face [B, 96, 96, 3]` to `patch [B, 96, 96, 3]`, RGB bytes.

    The oldest mel frame comes first. Bytes are truncated, as in upstream. Rows above
    `FIRST_PAINTED_ROW` are the face's own, which saves a quarter of the work.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.encoder = ServedFaceEncoder(generator)
        self.generator = generator

    def forward(self, mel: Tensor, face: Tensor) -> Tensor:
        """Paint the rows from `FIRST_PAINTED_ROW` on; they equal those of the whole network."""
        audio = self.generator.audio_encoder(mel.transpose(1, 2).unsqueeze(1))
        painted = to_levels(lower_picture(self.generator, audio, self.encoder(face)))
        return torch.cat((face.to(torch.float32)[:, :FIRST_PAINTED_ROW], painted), dim=1).to(
            torch.uint8
        )


class ServedSyncNet(nn.Module):
    """`mel [B, 16, 80]` and `faces [B, 5, 96, 96, 3]` (RGB bytes) to `sync [B, 1]`, 0..1.

    And both embeddings `[B, 512]`.
    """

    def __init__(self, syncnet: SyncNet) -> None:
        super().__init__()
        self.syncnet = syncnet

    def forward(self, mel: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score five consecutive faces at 25 frames per second; the mel starts with the first."""
        lower = bgr(faces.to(torch.float32).flatten(0, 1)[:, FACE_SIZE // 2 :]) / 255.0
        window = lower.reshape(-1, 15, FACE_SIZE // 2, FACE_SIZE)
        audio, face = self.syncnet(mel.transpose(1, 2).unsqueeze(1), window)
        return (audio * face).sum(dim=1, keepdim=True), audio, face


class ServedQualityDiscriminator(nn.Module):
    """`face [B, 96, 96, 3]` (RGB bytes) to `real [B, 1]`.

    The probability that its mouth is not painted.
    """

    def __init__(self, discriminator: QualityDiscriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, face: Tensor) -> Tensor:
        """Score one frame a row; frames do not depend on one another."""
        return self.discriminator((bgr(face) / 255.0).unsqueeze(2))


class ServedFaceDetector(nn.Module):
    """`picture [B, H, W, 3]` (RGB bytes) to raw classes and boxes of six levels.

    Classes `[B, 2, h, w]` come first, then boxes `[B, 4, h, w]`.
    """

    offsets: Tensor

    def __init__(self, detector: S3fd) -> None:
        super().__init__()
        self.detector = detector
        # upstream subtracts the BGR means from RGB channels, and its boxes rely on it
        self.register_buffer("offsets", torch.tensor((104.0, 117.0, 123.0)), persistent=False)

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Raw outputs, to be decoded by `export.networks.wav2lip.detection`."""
        levels = self.detector((picture.to(torch.float32) - self.offsets).permute(0, 3, 1, 2))
        return tuple(output for level in levels for output in level)


def bgr(picture: Tensor) -> Tensor:
    """`[B, H, W, 3]` RGB bytes as `[B, 3, H, W]` BGR float32, 0..255."""
    return picture.to(torch.float32).permute(0, 3, 1, 2)[:, [2, 1, 0]]


def to_levels(picture: Tensor) -> Tensor:
    """`[B, 3, H, W]` BGR, 0..1, as `[B, H, W, 3]` RGB, 0..255; bytes are these truncated."""
    return (picture * 255.0)[:, [2, 1, 0]].permute(0, 2, 3, 1)


def lower_picture(generator: Generator, audio: Tensor, features: Sequence[Tensor]) -> Tensor:
    """`generator.decode` from row `FIRST_PAINTED_ROW` on.

    Each stage is run on the rows that the next ones need.
    """
    top, x = 0, generator.face_decoder_blocks[0](audio)
    for index, skip in enumerate(reversed(features[1:]), start=1):
        crop = DECODER_CROPS.get(index, 0)
        joined = torch.cat((x[:, :, crop - top :], skip[:, :, crop:]), dim=1)
        x, top = generator.face_decoder_blocks[index](joined), 2 * crop
    first = FIRST_PAINTED_ROW - 1
    return generator.output_block(
        torch.cat((x[:, :, first - top :], features[0][:, :, first:]), dim=1)
    )[:, :, 1:]
