"""TPSM's networks as they are served.

Pictures are RGB bytes, the source is encoded once per face, and a chunk's frames are one item.

Features are sent in half precision: 16 MB per face instead of 31, at the cost of one grey level in
about one value of 200. Bytes are cast at the graphs' very borders: TensorRT has them as inputs and
outputs only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.networks.tpsm_neural.dense_motion import DenseMotionNetwork
from export.networks.tpsm_neural.inpainting import InpaintingNetwork, SourceEncoding
from export.networks.tpsm_neural.key_points import KEY_POINTS, BackgroundPredictor, KeyPointDetector


class ServedKeyPoints(nn.Module):
    """`picture [B, 256, 256, 3]` bytes to `points [B, 50, 2]`.

    For the source and for every driving picture.
    """

    def __init__(self, detector: KeyPointDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, picture: Tensor) -> Tensor:
        return self.detector(_from_bytes(picture))


class ServedSource(nn.Module):
    """`picture [B, 256, 256, 3]` bytes to four half-precision features, once per face."""

    def __init__(self, inpainting: InpaintingNetwork) -> None:
        super().__init__()
        self.inpainting = inpainting

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        return tuple(level.half() for level in self.inpainting.encode(_from_bytes(picture)))


class ServedFrames(nn.Module):
    """Picture, points and features of the source and driving points to frames.

    `driving_points [B, N, 50, 2]` to `frames [B, N, 256, 256, 3]` bytes. The N frames of an item
    share the source, so that it is sent once per request.
    """

    def __init__(self, dense_motion: DenseMotionNetwork, inpainting: InpaintingNetwork) -> None:
        super().__init__()
        self.dense_motion = dense_motion
        self.inpainting = inpainting

    def forward(
        self,
        picture: Tensor,
        source_points: Tensor,
        driving_points: Tensor,
        features_256: Tensor,
        features_128: Tensor,
        features_64: Tensor,
        features_32: Tensor,
    ) -> Tensor:
        """Render frames; splines, grids and flow stay in single precision for any features."""
        frames = driving_points.shape[1]
        source = _repeat(_from_bytes(picture), frames)
        levels = (
            _repeat(level.float(), frames)
            for level in (features_256, features_128, features_64, features_32)
        )
        motion = self.dense_motion(
            source, driving_points.reshape(-1, KEY_POINTS, 2), _repeat(source_points, frames)
        )
        rendered = self.inpainting.render(source, SourceEncoding(*levels), motion)
        return _to_bytes(rendered, frames)


class ServedBackground(nn.Module):
    """`source` and `driving [B, 256, 256, 3]` bytes to `matrix [B, 3, 3]`.

    Upstream's demo does not use it.
    """

    def __init__(self, predictor: BackgroundPredictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        return self.predictor(_from_bytes(source), _from_bytes(driving))


def _from_bytes(picture: Tensor) -> Tensor:
    """`[B, H, W, 3]`, 0..255 -> `[B, 3, H, W]`, 0..1."""
    return picture.float().permute(0, 3, 1, 2) / 255


def _to_bytes(picture: Tensor, frames: int) -> Tensor:
    """`[B * frames, 3, H, W]`, 0..1 -> `[B, frames, H, W, 3]`, rounded as in upstream."""
    levels = torch.round(picture * 255).clamp(0, 255).permute(0, 2, 3, 1)
    return levels.reshape(-1, frames, *(int(size) for size in levels.shape[1:])).to(torch.uint8)


def _repeat(values: Tensor, frames: int) -> Tensor:
    """`[B, ...]` -> `[B * frames, ...]`, each item `frames` times in a row."""
    # plain numbers while tracing too, so that the graph knows its shapes
    rest = [int(size) for size in values.shape[1:]]
    return values[:, None].expand(-1, frames, *rest).reshape(-1, *rest)
