"""The whole model in PyTorch, stage after stage, as upstream's program chains it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.networks.audio2head.audio2kp import Audio2Kp
from export.networks.audio2head.audio2pose import Audio2Pose
from export.networks.audio2head.generator import Generator
from export.networks.audio2head.key_points import KeyPoints
from export.networks.audio2head.kp_detector import KpDetector
from orchestrator.models.audio2head.chunks import Chunk, chunk_audio
from orchestrator.models.audio2head.pose_boxes import denormalised

FRAMES_PER_CALL = 4


@dataclass(frozen=True, slots=True)
class Audio2Head:
    """The four networks of one checkpoint."""

    kp_detector: KpDetector
    audio2pose: Audio2Pose
    audio2kp: Audio2Kp
    generator: Generator


NETWORKS: dict[str, type[nn.Module]] = {
    "kp_detector": KpDetector,
    "audio2pose": Audio2Pose,
    "audio2kp": Audio2Kp,
    "generator": Generator,
}
"""Section of the checkpoint -> module of this package."""


def network_picture(picture: NDArray[np.uint8]) -> Tensor:
    """RGB `[256, 256, 3]` as input of the networks, `[1, 3, 256, 256]`, 0..1.

    Multiplied as in scikit-image, not divided.
    """
    return torch.from_numpy(picture * np.float32(1 / 255)).permute(2, 0, 1)[None].contiguous()


def poses(
    networks: Audio2Head, picture: Tensor, blocks: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Denormalised poses `[frames + 1, 6]` of audio blocks `[frames, 4, 41]`."""
    return denormalised(networks.audio2pose(picture, torch.from_numpy(blocks)[None])[0].numpy())


def chunk_key_points(
    networks: Audio2Head,
    picture: Tensor,
    blocks: NDArray[np.float32],
    boxes: NDArray[np.uint8],
    chunk: Chunk,
) -> KeyPoints:
    """Key points `[1, 64, 10, 2]` of a chunk with pose pictures `[64, 256, 256]` (0 or 255)."""
    audio = torch.from_numpy(chunk_audio(blocks, chunk))[None]
    return networks.audio2kp(audio, torch.from_numpy(boxes).float()[None], picture)


def frames(networks: Audio2Head, picture: Tensor, driving: KeyPoints) -> NDArray[np.uint8]:
    """RGB frames `[n, 256, 256, 3]` of key points `[n, 10, 2]`.

    The source's part is computed once.
    """
    source = networks.kp_detector(picture)
    features, small = networks.generator.encode(picture)
    rendered: list[NDArray[np.uint8]] = []
    for value, jacobian in zip(
        driving.value.split(FRAMES_PER_CALL), driving.jacobian.split(FRAMES_PER_CALL), strict=True
    ):
        features_n, small_n, source_value, source_jacobian = repeated(
            len(value), features, small, *source
        )
        frame, _ = networks.generator.render(
            features_n,
            small_n,
            KeyPoints(source_value, source_jacobian),
            KeyPoints(value, jacobian),
        )
        rendered.append(frame_bytes(frame))
    return np.concatenate(rendered)


def repeated(count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors `[1, ...]` of the source for `count` frames."""
    return tuple(tensor.expand(count, *tensor.shape[1:]) for tensor in tensors)


def frame_bytes(frames: Tensor) -> NDArray[np.uint8]:
    """`[n, 3, 256, 256]`, 0..1, as bytes `[n, 256, 256, 3]`, truncated."""
    scaled: NDArray[np.float32] = frames.permute(0, 2, 3, 1).numpy() * np.float32(255)
    return scaled.astype(np.uint8)
