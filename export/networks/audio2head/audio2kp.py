"""Speech and head pose to the key points of 64 frames (upstream `modules/audio2kp.py`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.audio2head.hourglass3d import Hourglass3d
from export.networks.audio2head.key_points import (
    KEY_POINTS,
    KeyPoints,
    identity_bias,
    soft_key_points,
)
from export.networks.audio2head.layers import AntiAliasDown
from orchestrator.models.audio2head.chunks import CHUNK_FRAMES

AUDIO_MAPS = 2
INPUT_MAPS = AUDIO_MAPS + 3 + 1
"""Two maps of the audio, three of the picture, one of the head pose."""


class Audio2Kp(nn.Module):
    """Audio, picture and pose pictures as maps over frames, a 3-D hourglass, then key points.

    Key points are computed frame by frame.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down_id = AntiAliasDown(3)
        self.down_pose = AntiAliasDown(CHUNK_FRAMES)
        self.embedding = nn.Sequential(
            nn.ConvTranspose2d(1, 8, (29, 14), padding=(0, 11)),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, AUDIO_MAPS, 13, padding=6),
        )
        self.predictor = Hourglass3d(INPUT_MAPS, base=32, widest=512)
        self.kp = nn.Conv3d(self.predictor.outputs, KEY_POINTS, 7, padding=(3, 0, 0))
        self.jacobian = nn.Conv2d(self.predictor.outputs, 4 * KEY_POINTS, 7)
        assert self.jacobian.bias is not None
        with torch.no_grad():
            self.jacobian.bias.copy_(identity_bias())

    def embed(self, audio: Tensor) -> Tensor:
        """Blocks `[B, 64, 4, 41]` as maps `[B * 64, 2, 32, 32]`."""
        return self.embedding(audio.reshape(-1, 1, 4, 41))

    def features(self, audio_maps: Tensor, pose: Tensor, picture: Tensor) -> Tensor:
        """Features `[B, 38, 64, 64, 64]` of embedded audio, pose pictures and the picture.

        Pose pictures are `[B, 64, 256, 256]` (0 or 255), the picture `[B, 3, 256, 256]`.
        """
        audio = functional.interpolate(audio_maps, scale_factor=2.0, mode="nearest")
        audio = audio.reshape(-1, CHUNK_FRAMES, AUDIO_MAPS, 64, 64).permute(0, 2, 1, 3, 4)
        identity = self.down_id(picture)[:, :, None].expand(-1, 3, CHUNK_FRAMES, 64, 64)
        return self.predictor(torch.cat([audio, identity, self.down_pose(pose)[:, None]], dim=1))

    def maps(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B * 64, 10, 58, 58]` and jacobian entries `[B * 64, 40, 58, 58]`."""
        logits = self.kp(features).permute(0, 2, 1, 3, 4).reshape(-1, KEY_POINTS, 58, 58)
        frames = features.permute(0, 2, 1, 3, 4).reshape(-1, self.predictor.outputs, 64, 64)
        return logits, self.jacobian(frames)

    def forward(self, audio: Tensor, pose: Tensor, picture: Tensor) -> KeyPoints:
        """Key points `[B, 64, 10, 2]` and jacobians `[B, 64, 10, 2, 2]`."""
        return frame_by_frame(
            soft_key_points(*self.maps(self.features(self.embed(audio), pose, picture)))
        )


def frame_by_frame(points: KeyPoints) -> KeyPoints:
    """Key points of `[B * 64]` frames with a separate axis for the frames of a chunk."""
    return KeyPoints(
        points.value.reshape(-1, CHUNK_FRAMES, KEY_POINTS, 2),
        points.jacobian.reshape(-1, CHUNK_FRAMES, KEY_POINTS, 2, 2),
    )
