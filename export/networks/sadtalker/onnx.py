"""Exports of SadTalker: one declaration per served network.

With names, example inputs and tolerances.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from export.base import AxisRange, ExportSpec, Graph
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

FRAME_TOLERANCE: Final = 4.0
"""Tolerance of frames in grey levels.

The network drops every share of motion below a thousandth, so one near that may stay or go. In one
of nine frames of seeded noise that moved 22 of 196,608 values by 2 or 3 levels; all others are
within one.
"""


def photo_export(
    renderer: FaceRenderer, extractor: KeyPointExtractor, batch: int, random: torch.Generator
) -> ExportSpec:
    """`sadtalker_photo`: once per face; folds the renderer's spectral norms in place."""
    outputs = {"feature_volume": 1e-4, "compressed_volume": 1e-4, "canonical_key_points": 1e-4}
    module = PhotoGraph(fold_spectral_norms(renderer), extractor).eval()
    return ExportSpec(
        "sadtalker_photo",
        module,
        {"picture": _bytes(256, batch, random)},
        outputs,
        full_precision=("extractor",),
    )


def renderer_export(renderer: FaceRenderer, batch: int, random: torch.Generator) -> ExportSpec:
    """`sadtalker_renderer`: every frame; folds the renderer's spectral norms in place."""
    inputs = {
        "feature_volume": _uniform((batch, 32, 16, 64, 64), -1.0, 1.0, random),
        "compressed_volume": _uniform((batch, 4, 16, 64, 64), 0.0, 1.0, random),
        "source_key_points": _key_points(batch, random),
        "driving_key_points": _uniform((batch, 2, KEY_POINTS, 3), -0.8, 0.8, random),
    }
    free = {"driving_key_points": {1: "frames"}, "frames": {1: "frames"}}
    return ExportSpec(
        "sadtalker_renderer",
        RendererGraph(fold_spectral_norms(renderer)).eval(),
        inputs,
        {"frames": FRAME_TOLERANCE},
        free,
        {"frames": AxisRange(1, 2, 4)},
        full_precision=("renderer", "renderer/dense_motion_network"),
    )


def key_point_export(
    name: str, mapping: CoefficientMapping, batch: int, random: torch.Generator
) -> ExportSpec:
    """`sadtalker_key_points`, or `_full` with the crop's numbers: every frame."""
    first = mapping.first[0]
    assert isinstance(first, nn.Conv1d)
    inputs = {
        "coefficients": _uniform((batch, first.in_channels, 27), -0.5, 0.5, random),
        "canonical_key_points": _key_points(batch, random),
    }
    return ExportSpec(name, KeyPointGraph(mapping).eval(), inputs, {"key_points": 1e-5})


def expression_export(
    network: AudioToExpression, batch: int, random: torch.Generator
) -> ExportSpec:
    """`sadtalker_expression`: every frame."""
    inputs = {
        "mel": _uniform((batch, 16, 80), -4.0, 4.0, random),
        "reference_expression": _uniform((batch, 64), -1.0, 1.0, random),
        "blink": _uniform((batch, 1), 0.0, 1.0, random),
    }
    return ExportSpec(
        "sadtalker_expression", ExpressionGraph(network).eval(), inputs, {"expression": 1e-4}
    )


def pose_export(network: AudioToPose, batch: int, random: torch.Generator) -> ExportSpec:
    """`sadtalker_pose`: once per 32 frames."""
    inputs = {
        "mel": _uniform((batch, FRAMES, 16, 80), -4.0, 4.0, random),
        "noise": torch.randn((batch, LATENT), generator=random),
        "style": torch.randint(0, STYLES, (batch, 1), generator=random),
        "reference_pose": _uniform((batch, POSE), -0.5, 0.5, random),
    }
    return ExportSpec("sadtalker_pose", PoseGraph(network).eval(), inputs, {"motion": 1e-5})


def reconstruction_export(
    network: FaceReconstruction, batch: int, random: torch.Generator
) -> ExportSpec:
    """`sadtalker_reconstruction`: once per face."""
    return ExportSpec(
        "sadtalker_reconstruction",
        ReconstructionGraph(network).eval(),
        {"face": _bytes(224, batch, random)},
        {"coefficients": 1e-4},
    )


GRAPHS: Final = (
    Graph("sadtalker_expression", ("audio2exp",), expression_export),
    Graph("sadtalker_pose", ("audio2pose",), pose_export),
    Graph(
        "sadtalker_key_points", ("mapping70",), partial(key_point_export, "sadtalker_key_points")
    ),
    Graph(
        "sadtalker_key_points_full",
        ("mapping73",),
        partial(key_point_export, "sadtalker_key_points_full"),
        optional=True,
    ),
    Graph("sadtalker_reconstruction", ("face_3drecon",), reconstruction_export),
    Graph("sadtalker_photo", ("generator", "kp_extractor"), photo_export, batches=(1, 3)),
    Graph("sadtalker_renderer", ("generator",), renderer_export, batches=(1, 2)),
)
"""Graphs, the cheap ones first."""


def _bytes(size: int, batch: int, random: torch.Generator) -> Tensor:
    """Random pictures of coarse blocks.

    Fine noise averages out in deep networks and would hide errors.
    """
    blocks = torch.randint(
        0, 256, (batch, size // 16, size // 16, 3), dtype=torch.uint8, generator=random
    )
    return blocks.repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)


def _key_points(batch: int, random: torch.Generator) -> Tensor:
    return _uniform((batch, KEY_POINTS, 3), -0.8, 0.8, random)


def _uniform(shape: tuple[int, ...], low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=random)
