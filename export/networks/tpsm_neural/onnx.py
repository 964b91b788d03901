"""Exports of TPSM: one declaration per served network.

With names, example inputs and tolerances.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from export.base import AxisRange, ExportSpec, Graph
from export.networks.tpsm_neural.dense_motion import DenseMotionNetwork
from export.networks.tpsm_neural.inpainting import InpaintingNetwork
from export.networks.tpsm_neural.key_points import (
    KEY_POINTS,
    AvdNetwork,
    BackgroundPredictor,
    KeyPointDetector,
)
from export.networks.tpsm_neural.serving import (
    ServedBackground,
    ServedFrames,
    ServedKeyPoints,
    ServedSource,
)
from orchestrator.models.tpsm_neural.motion import PICTURE_SIZE

POINTS_TOLERANCE: Final = 1e-5

FEATURES: Final = {
    "features_256": (64, 256),
    "features_128": (128, 128),
    "features_64": (256, 64),
    "features_32": (512, 32),
}
"""Channels and side of the source's features, which are sent in half precision."""

FEATURES_TOLERANCE: Final = 1e-3
"""One step of half precision: a value near the middle of two may round to either."""

FRAME_TOLERANCE: Final = 1.0
"""Grey levels, for a value near the middle of two."""


def key_points_export(
    detector: KeyPointDetector, batch: int, random: torch.Generator
) -> ExportSpec:
    """`tpsm_neural_key_points`: of the source and of every driving picture."""
    module = ServedKeyPoints(detector).eval()
    return ExportSpec(
        "tpsm_neural_key_points",
        module,
        {"picture": _picture(batch, random)},
        {"points": POINTS_TOLERANCE},
    )


def source_export(inpainting: InpaintingNetwork, batch: int, random: torch.Generator) -> ExportSpec:
    """`tpsm_neural_source`: the part that depends on the source picture alone.

    30 of 269 GFLOP of a frame.
    """
    module = ServedSource(inpainting).eval()
    return ExportSpec(
        "tpsm_neural_source",
        module,
        {"picture": _picture(batch, random)},
        dict.fromkeys(FEATURES, FEATURES_TOLERANCE),
    )


def frames_export(
    dense_motion: DenseMotionNetwork,
    inpainting: InpaintingNetwork,
    batch: int,
    random: torch.Generator,
) -> ExportSpec:
    """`tpsm_neural_frames`: frames of one chunk."""
    inputs = {
        "picture": _picture(batch, random),
        "source_points": _points(random, batch, KEY_POINTS),
        "driving_points": _points(random, batch, 2, KEY_POINTS),
    }
    for name, (channels, side) in FEATURES.items():
        inputs[name] = torch.rand(batch, channels, side, side, generator=random).half()
    free = {"driving_points": {1: "frames"}, "frames": {1: "frames"}}
    return ExportSpec(
        "tpsm_neural_frames",
        ServedFrames(dense_motion, inpainting).eval(),
        inputs,
        {"frames": FRAME_TOLERANCE},
        free,
        {"frames": AxisRange(1, 2, 4)},
        full_precision=("dense_motion",),
    )


def avd_export(network: AvdNetwork, batch: int, random: torch.Generator) -> ExportSpec:
    """`tpsm_neural_avd`: driving key points with the identity of the source."""
    inputs = {
        "source_points": _points(random, batch, KEY_POINTS),
        "driving_points": _points(random, batch, KEY_POINTS),
    }
    return ExportSpec("tpsm_neural_avd", network.eval(), inputs, {"points": POINTS_TOLERANCE})


def background_export(
    predictor: BackgroundPredictor, batch: int, random: torch.Generator
) -> ExportSpec:
    """`tpsm_neural_background`: motion of the background between two pictures."""
    inputs = {"source": _picture(batch, random), "driving": _picture(batch, random)}
    return ExportSpec(
        "tpsm_neural_background",
        ServedBackground(predictor).eval(),
        inputs,
        {"matrix": POINTS_TOLERANCE},
    )


GRAPHS: Final = (
    Graph("tpsm_neural_key_points", ("kp_detector",), key_points_export),
    Graph("tpsm_neural_avd", ("avd_network",), avd_export, optional=True),
    Graph("tpsm_neural_background", ("bg_predictor",), background_export, optional=True),
    Graph("tpsm_neural_source", ("inpainting_network",), source_export, batches=(1, 3)),
    Graph(
        "tpsm_neural_frames",
        ("dense_motion_network", "inpainting_network"),
        frames_export,
        batches=(1, 2),
    ),
)
"""Graphs, the cheap ones first."""


def _picture(batch: int, random: torch.Generator) -> Tensor:
    return torch.randint(
        0, 256, (batch, PICTURE_SIZE, PICTURE_SIZE, 3), dtype=torch.uint8, generator=random
    )


def _points(random: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, 2, generator=random) * 1.6 - 0.8
