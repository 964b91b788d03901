"""What is exported of SadTalker: one declaration per served network, with names, example inputs and tolerances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from export.networks.sadtalker.expression import AudioToExpression
from export.networks.sadtalker.graphs import (
    ExpressionGraph,
    KeyPointGraph,
    PhotoGraph,
    PoseGraph,
    ReconstructionGraph,
    RendererGraph,
    fold_spectral_norms,
)
from export.networks.sadtalker.key_points import KEY_POINTS, KeyPointExtractor
from export.networks.sadtalker.mapping import CoefficientMapping
from export.networks.sadtalker.pose import FRAMES, LATENT, POSE, STYLES, AudioToPose
from export.networks.sadtalker.reconstruction import FaceReconstruction
from export.networks.sadtalker.renderer import FaceRenderer

OPSET: Final = 18
GREY_LEVEL: Final = 1.0
"""Tolerance of byte pictures: a value half-way between two levels may be rounded to either."""

_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class GraphExport:
    """One graph; axis 0 of every tensor is the batch."""

    name: str
    """The Triton model's name."""
    module: nn.Module
    inputs: dict[str, Tensor]
    """Example inputs by name, in the module's order."""
    outputs: dict[str, float]
    """Output names in the module's order, each with the largest difference ONNX Runtime may have from torch."""
    free: dict[str, str] = field(default_factory=dict)
    """Name of axis 1 where its length is free, by tensor."""

    @property
    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """The axes whose length is free, as `torch.onnx.export` wants them."""
        return {name: {0: "batch"} | ({1: self.free[name]} if name in self.free else {}) for name in (*self.inputs, *self.outputs)}


def graph_exports(networks: Mapping[str, nn.Module], batch: int) -> tuple[GraphExport, ...]:
    """All graphs of filled networks (by the reference's names) with random examples of `batch` rows.

    The renderer's spectral norms are folded in place.
    """
    random = torch.Generator().manual_seed(0)
    renderer = fold_spectral_norms(_as(FaceRenderer, networks["generator"]))
    return (
        photo_export(renderer, _as(KeyPointExtractor, networks["kp_extractor"]), batch, random),
        renderer_export(renderer, batch, random),
        key_point_export("sadtalker_key_points", _as(CoefficientMapping, networks["mapping70"]), batch, random),
        key_point_export("sadtalker_key_points_full", _as(CoefficientMapping, networks["mapping73"]), batch, random),
        expression_export(_as(AudioToExpression, networks["audio2exp"]), batch, random),
        pose_export(_as(AudioToPose, networks["audio2pose"]), batch, random),
        reconstruction_export(_as(FaceReconstruction, networks["face_3drecon"]), batch, random),
    )


def photo_export(renderer: FaceRenderer, extractor: KeyPointExtractor, batch: int, random: torch.Generator) -> GraphExport:
    """`sadtalker_photo`: once per face."""
    outputs = {"feature_volume": 1e-4, "compressed_volume": 1e-4, "canonical_key_points": 1e-4}
    return GraphExport("sadtalker_photo", PhotoGraph(renderer, extractor).eval(), {"picture": _bytes(256, batch, random)}, outputs)


def renderer_export(renderer: FaceRenderer, batch: int, random: torch.Generator) -> GraphExport:
    """`sadtalker_renderer`: every frame."""
    inputs = {
        "feature_volume": _uniform((batch, 32, 16, 64, 64), -1.0, 1.0, random),
        "compressed_volume": _uniform((batch, 4, 16, 64, 64), 0.0, 1.0, random),
        "source_key_points": _key_points(batch, random),
        "driving_key_points": _uniform((batch, 2, KEY_POINTS, 3), -0.8, 0.8, random),
    }
    free = {"driving_key_points": "frames", "frames": "frames"}
    return GraphExport("sadtalker_renderer", RendererGraph(renderer).eval(), inputs, {"frames": GREY_LEVEL}, free)


def key_point_export(name: str, mapping: CoefficientMapping, batch: int, random: torch.Generator) -> GraphExport:
    """`sadtalker_key_points`, or `_full` with the crop's numbers: every frame."""
    coefficients = mapping.first[0].in_channels
    inputs = {
        "coefficients": _uniform((batch, coefficients, 27), -0.5, 0.5, random),
        "canonical_key_points": _key_points(batch, random),
    }
    return GraphExport(name, KeyPointGraph(mapping).eval(), inputs, {"key_points": 1e-5})


def expression_export(network: AudioToExpression, batch: int, random: torch.Generator) -> GraphExport:
    """`sadtalker_expression`: every frame."""
    inputs = {
        "mel": _uniform((batch, 16, 80), -4.0, 4.0, random),
        "reference_expression": _uniform((batch, 64), -1.0, 1.0, random),
        "blink": _uniform((batch, 1), 0.0, 1.0, random),
    }
    return GraphExport("sadtalker_expression", ExpressionGraph(network).eval(), inputs, {"expression": 1e-4})


def pose_export(network: AudioToPose, batch: int, random: torch.Generator) -> GraphExport:
    """`sadtalker_pose`: once per 32 frames."""
    inputs = {
        "mel": _uniform((batch, FRAMES, 16, 80), -4.0, 4.0, random),
        "noise": torch.randn((batch, LATENT), generator=random),
        "style": torch.randint(0, STYLES, (batch, 1), generator=random),
        "reference_pose": _uniform((batch, POSE), -0.5, 0.5, random),
    }
    return GraphExport("sadtalker_pose", PoseGraph(network).eval(), inputs, {"motion": 1e-5})


def reconstruction_export(network: FaceReconstruction, batch: int, random: torch.Generator) -> GraphExport:
    """`sadtalker_reconstruction`: once per face."""
    return GraphExport(
        "sadtalker_reconstruction", ReconstructionGraph(network).eval(), {"face": _bytes(224, batch, random)}, {"coefficients": 1e-4}
    )


def _as(kind: Callable[..., _Network], network: nn.Module) -> _Network:
    assert isinstance(network, kind)  # type: ignore[arg-type]
    return network


def _bytes(size: int, batch: int, random: torch.Generator) -> Tensor:
    """Coarse blocks: fine noise averages out in deep networks and would hide mistakes."""
    blocks = torch.randint(0, 256, (batch, size // 16, size // 16, 3), dtype=torch.uint8, generator=random)
    return blocks.repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)


def _key_points(batch: int, random: torch.Generator) -> Tensor:
    return _uniform((batch, KEY_POINTS, 3), -0.8, 0.8, random)


def _uniform(shape: tuple[int, ...], low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=random)
