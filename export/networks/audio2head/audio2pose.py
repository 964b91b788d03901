"""Speech to the head's pose, frame after frame (upstream `modules/audio2pose.py`)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from export.networks.audio2head.resnet import ResNet34

EMBEDDING = 256
POSE = 6


class PoseState(NamedTuple):
    """State of the pose from frame to frame.

    At first zeros, with the picture's embedding as the vector.
    """

    hidden: Tensor
    """`[2, B, 256]`."""
    cell: Tensor
    """`[2, B, 256]`."""
    vector: Tensor
    """`[B, 256]`: the last output."""


class Embedding(nn.Module):
    """A ResNet under the name that the checkpoint gives it."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.resnet = ResNet34(inputs, EMBEDDING)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, 256]`."""
        return self.resnet(x)


class Audio2Pose(nn.Module):
    """An LSTM whose inputs are the audio and its own last output.

    The first output is the picture's embedding.
    """

    def __init__(self) -> None:
        super().__init__()
        self.em_img = Embedding(3)
        self.em_audio = Embedding(1)
        self.lstm = nn.LSTM(2 * EMBEDDING, EMBEDDING, num_layers=2, batch_first=True)
        self.output = nn.Linear(EMBEDDING, POSE)

    def embed_audio(self, audio: Tensor) -> Tensor:
        """Blocks `[N, 4, 41]` as `[N, 256]`, independent of each other."""
        return self.em_audio(audio[:, None])

    def start(self, embedded_picture: Tensor) -> tuple[Tensor, PoseState]:
        """Pose `[B, 6]` of frame 0, and the state, from the picture's embedding `[B, 256]`."""
        zeros = embedded_picture.new_zeros(2, embedded_picture.shape[0], EMBEDDING)
        return self.output(embedded_picture), PoseState(zeros, zeros, embedded_picture)

    def step(self, embedded_audio: Tensor, state: PoseState) -> tuple[Tensor, PoseState]:
        """Pose `[B, 6]` after the block with this embedding `[B, 256]`, and the next state."""
        both = torch.cat([embedded_audio, state.vector], dim=1)[:, None]
        output, (hidden, cell) = self.lstm(both, (state.hidden, state.cell))
        return self.output(output[:, 0]), PoseState(hidden, cell, output[:, 0])

    def forward(self, picture: Tensor, audio: Tensor) -> Tensor:
        """Poses `[B, T + 1, 6]`, -1..1.

        Of pictures `[B, 3, 256, 256]` and blocks `[B, T, 4, 41]`.
        """
        pose, state = self.start(self.em_img(picture))
        poses = [pose]
        embedded = self.embed_audio(audio.flatten(0, 1)).reshape(*audio.shape[:2], EMBEDDING)
        for index in range(audio.shape[1]):
            pose, state = self.step(embedded[:, index], state)
            poses.append(pose)
        return torch.stack(poses, dim=1)
