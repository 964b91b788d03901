"""The upstream demo as a loop: one source picture, and a video of driving pictures.

With three ways to transfer the motion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.networks.tpsm_neural.dense_motion import DenseMotion, DenseMotionNetwork
from export.networks.tpsm_neural.inpainting import InpaintingNetwork, SourceEncoding
from export.networks.tpsm_neural.key_points import AvdNetwork, KeyPointDetector
from orchestrator.models.tpsm_neural.motion import motion_scale, relative_points


class MotionMode(Enum):
    """Transfer of driving key points to the source face."""

    STANDARD = "standard"
    """Unchanged: the face takes the driving face's shape as well."""
    RELATIVE = "relative"
    """The source's own, moved by the change since the first driving picture.

    The default upstream.
    """
    AVD = "avd"
    """A network keeps the source's identity and takes the driving pose."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of one checkpoint, in evaluation mode."""

    key_points: KeyPointDetector
    dense_motion: DenseMotionNetwork
    inpainting: InpaintingNetwork
    avd: AvdNetwork


@dataclass(frozen=True, slots=True)
class SourceFace:
    """The part that depends on the source picture only."""

    picture: Tensor
    """`[1, 3, 256, 256]`, RGB 0..1."""
    points: Tensor
    """`[1, 50, 2]`."""
    encoding: SourceEncoding


def prepare_source(networks: Networks, picture: Tensor) -> SourceFace:
    """Key points and features of the source `[1, 3, 256, 256]`, once per face."""
    return SourceFace(picture, networks.key_points(picture), networks.inpainting.encode(picture))


def render(networks: Networks, source: SourceFace, points: Tensor) -> tuple[Tensor, DenseMotion]:
    """The source with key points `[1, 50, 2]`: the frame `[1, 3, 256, 256]` and its motion."""
    motion = networks.dense_motion(source.picture, points, source.points)
    return networks.inpainting.render(source.picture, source.encoding, motion), motion


@torch.no_grad()
def animate(
    networks: Networks, source: SourceFace, driving: Iterable[Tensor], mode: MotionMode
) -> Iterator[NDArray[np.float32]]:
    """Frames `[256, 256, 3]`, RGB 0..1, one per driving picture `[1, 3, 256, 256]`.

    The first driving picture is the reference.
    """
    initial: Tensor | None = None
    for picture in driving:
        points = networks.key_points(picture)
        initial = points if initial is None else initial
        frame, _ = render(
            networks, source, carry_over(networks, source.points, points, initial, mode)
        )
        yield frame[0].permute(1, 2, 0).numpy()


def carry_over(
    networks: Networks, source: Tensor, driving: Tensor, initial: Tensor, mode: MotionMode
) -> Tensor:
    """Key points `[1, 50, 2]` for the source face."""
    if mode is MotionMode.STANDARD:
        return driving
    if mode is MotionMode.AVD:
        return networks.avd(source, driving)
    scale = motion_scale(source[0].numpy(), initial[0].numpy())
    return torch.from_numpy(
        relative_points(source.numpy(), driving.numpy(), initial.numpy(), scale)
    )
