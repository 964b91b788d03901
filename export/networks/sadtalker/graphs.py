"""SadTalker's networks as they are served.

Pictures are bytes, names are readable, and the part that depends on the photo alone is separate.
Bytes are cast at the graphs' very borders: TensorRT has them as inputs and outputs only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.networks.sadtalker.blocks import spatial_sizes
from export.networks.sadtalker.expression import AudioToExpression
from export.networks.sadtalker.key_points import KEY_POINTS, KeyPointExtractor
from export.networks.sadtalker.mapping import CoefficientMapping, moved_key_points
from export.networks.sadtalker.pose import FRAMES, POSE, AudioToPose
from export.networks.sadtalker.reconstruction import FaceReconstruction
from export.networks.sadtalker.renderer import EncodedPhoto, FaceRenderer
from export.networks.sadtalker.spade import SpectralConv2d


def unit_picture(picture: Tensor) -> Tensor:
    """Bytes `[B, H, W, 3]` to `[B, 3, H, W]`, 0..1."""
    return picture.float().permute(0, 3, 1, 2) / 255.0


def byte_pictures(picture: Tensor, frames: int) -> Tensor:
    """`[B, 3, H, W]`, 0..1, to bytes `[B / frames, frames, H, W, 3]`, rounded to the nearest."""
    levels = (picture * 255.0).round().clamp(0.0, 255.0).permute(0, 2, 3, 1)
    # The constant shape is for the graph: the exporter cannot infer it.
    return levels.reshape(-1, frames, *spatial_sizes(picture), 3).to(torch.uint8)


class PhotoGraph(nn.Module):
    """The part of renderer and mapping that depends on the photo alone; once per face."""

    def __init__(self, renderer: FaceRenderer, extractor: KeyPointExtractor) -> None:
        super().__init__()
        self.renderer, self.extractor = renderer, extractor

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bytes `[B, 256, 256, 3]` to both volumes and canonical key points.

        The volumes are the feature volume and the compressed one.
        """
        unit = unit_picture(picture)
        photo = self.renderer.encode(unit)
        return photo.feature, photo.compressed, self.extractor(unit).reshape(-1, KEY_POINTS, 3)


class RendererGraph(nn.Module):
    """A chunk of frames of one face per row, so that the face's volumes are sent once."""

    def __init__(self, renderer: FaceRenderer) -> None:
        super().__init__()
        self.renderer = renderer

    def forward(
        self, feature: Tensor, compressed: Tensor, source: Tensor, driving: Tensor
    ) -> Tensor:
        """Encoding of the photo and key points to frames.

        The photo's encoding is the result of `PhotoGraph`; key points are `[B, 15, 3]` of the photo
        and `[B, N, 15, 3]` of the frames. Returns bytes `[B, N, 256, 256, 3]`.
        """
        frames = driving.shape[1]
        photo = EncodedPhoto(_for_each_frame(feature, frames), _for_each_frame(compressed, frames))
        pictures, _ = self.renderer(
            photo, _for_each_frame(source, frames), driving.reshape(-1, KEY_POINTS, 3)
        )
        return byte_pictures(pictures, frames)


def _for_each_frame(tensor: Tensor, frames: int) -> Tensor:
    """`[B, ...]` to `[B * frames, ...]`, each row repeated."""
    rest = [int(size) for size in tensor.shape[1:]]
    return tensor[:, None].expand(-1, frames, *rest).reshape(-1, *rest)


class KeyPointGraph(nn.Module):
    """Coefficients to the key points of the same moment."""

    def __init__(self, mapping: CoefficientMapping) -> None:
        super().__init__()
        self.mapping = mapping

    def forward(self, coefficients: Tensor, canonical: Tensor) -> Tensor:
        """Windows `[B, C, 27]` and canonical key points `[B, 15, 3]` to key points `[B, 15, 3]`."""
        return moved_key_points(canonical, self.mapping(coefficients)).reshape(-1, KEY_POINTS, 3)


class ExpressionGraph(nn.Module):
    """Speech to expression, frame by frame."""

    def __init__(self, network: AudioToExpression) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor, reference: Tensor, blink: Tensor) -> Tensor:
        """Mel `[B, 16, 80]`, the photo's expression `[B, 64]`, lids `[B, 1]` to `[B, 64]`."""
        return self.network(mel.transpose(1, 2)[:, None], reference, blink)


class PoseGraph(nn.Module):
    """Speech to 32 frames of head motion."""

    def __init__(self, network: AudioToPose) -> None:
        super().__init__()
        self.audio_encoder, self.decoder = network.audio_encoder, network.netG.decoder

    def forward(self, mel: Tensor, noise: Tensor, style: Tensor, reference: Tensor) -> Tensor:
        """Audio, noise, style and the photo's pose to motion `[B, 32, 6]`.

        Mel `[B, 32, 16, 80]`, noise `[B, 64]`, style number `[B, 1]`, pose `[B, 6]`.
        """
        return self.decoder(
            self.audio_encoder(mel.transpose(2, 3)[:, :, None]), noise, style[:, 0], reference
        ).reshape(-1, FRAMES, POSE)


class ReconstructionGraph(nn.Module):
    """An aligned face to its 3DMM coefficients; once per face."""

    def __init__(self, network: FaceReconstruction) -> None:
        super().__init__()
        self.network = network

    def forward(self, face: Tensor) -> Tensor:
        """Bytes `[B, 224, 224, 3]` to `[B, 257]`."""
        return self.network(unit_picture(face))


def fold_spectral_norms(renderer: FaceRenderer) -> FaceRenderer:
    """Replace the spectral-norm convolutions by plain ones, in place.

    The state dict is no longer upstream's then.
    """
    for parent in list(renderer.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SpectralConv2d):
                setattr(parent, name, child.folded())
    return renderer
