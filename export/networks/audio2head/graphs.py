"""Audio2Head's networks as they are served.

Inputs and outputs are bytes, the part that depends on the picture alone is separate, and state is
passed in and out. Bytes are cast at the graphs' very borders: TensorRT has them as inputs and
outputs only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.networks.audio2head.audio2kp import Audio2Kp
from export.networks.audio2head.audio2pose import Audio2Pose, PoseState
from export.networks.audio2head.generator import Generator
from export.networks.audio2head.key_points import KeyPoints
from export.networks.audio2head.kp_detector import KpDetector


class PictureGraph(nn.Module):
    """The part that depends on the picture alone; once per face."""

    def __init__(self, detector: KpDetector, generator: Generator, audio2pose: Audio2Pose) -> None:
        super().__init__()
        self.detector, self.generator, self.audio2pose = detector, generator, audio2pose

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """RGB bytes `[B, 256, 256, 3]` to the encoding of the picture.

        Features `[B, 256, 64, 64]`, small picture `[B, 3, 64, 64]`, key points `[B, 10, 2]`,
        jacobians `[B, 10, 2, 2]`, the LSTM's first vector `[B, 256]` and the first pose `[B, 6]`,
        -1..1.
        """
        rgb = planes(picture)
        features, small = self.generator.encode(rgb)
        points = self.detector(rgb)
        vector = self.audio2pose.em_img(rgb)
        return (
            features,
            small,
            points.value,
            points.jacobian,
            vector,
            self.audio2pose.output(vector),
        )


class EmbeddingGraph(nn.Module):
    """The LSTM's embedding of the audio; video frames do not depend on each other."""

    def __init__(self, audio2pose: Audio2Pose) -> None:
        super().__init__()
        self.audio2pose = audio2pose

    def forward(self, audio: Tensor) -> Tensor:
        """`[B, 4, 41]` to `[B, 256]`."""
        return self.audio2pose.embed_audio(audio)


class PoseGraph(nn.Module):
    """One step of the LSTM, whose input includes its own last output."""

    def __init__(self, audio2pose: Audio2Pose) -> None:
        super().__init__()
        self.audio2pose = audio2pose

    def forward(
        self, embedding: Tensor, vector: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, ...]:
        """Embedding `[B, 256]` and the state to the pose `[B, 6]` and the next state.

        The state is vector `[B, 256]`, hidden and cell `[B, 2, 256]`.
        """
        state = PoseState(
            hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous(), vector
        )
        pose, state = self.audio2pose.step(embedding, state)
        return pose, state.vector, state.hidden.transpose(0, 1), state.cell.transpose(0, 1)


class KeyPointGraph(nn.Module):
    """Key points of a chunk of 64 frames."""

    def __init__(self, audio2kp: Audio2Kp) -> None:
        super().__init__()
        self.audio2kp = audio2kp

    def forward(self, audio: Tensor, boxes: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Audio, pose pictures and picture to key points `[B, 64, 10, 2]` and jacobians.

        Audio `[B, 64, 4, 41]`, pose pictures `[B, 64, 256, 256]` (0 or 255), RGB bytes `[B, 256,
        256, 3]`, jacobians `[B, 64, 10, 2, 2]`.
        """
        points = self.audio2kp(audio, boxes.to(torch.float32), planes(picture))
        return points.value, points.jacobian


class FrameGraph(nn.Module):
    """The renderer's part that runs for every frame."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(
        self,
        features: Tensor,
        small: Tensor,
        source_points: Tensor,
        source_jacobians: Tensor,
        points: Tensor,
        jacobians: Tensor,
    ) -> Tensor:
        """The result of `PictureGraph` and a frame's key points to RGB bytes `[B, 256, 256, 3]`."""
        source, driving = KeyPoints(source_points, source_jacobians), KeyPoints(points, jacobians)
        frame, _ = self.generator.render(features, small, source, driving)
        return (frame * 255.0).permute(0, 2, 3, 1).to(torch.uint8)


def planes(picture: Tensor) -> Tensor:
    """RGB bytes `[B, 256, 256, 3]` as `[B, 3, 256, 256]`, 0..1."""
    return picture.to(torch.float32).permute(0, 3, 1, 2) * (1.0 / 255.0)
