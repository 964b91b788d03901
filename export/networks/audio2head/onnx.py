"""Exports of Audio2Head: one declaration per served network.

With names, example inputs and tolerances.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from export.base import ExportSpec, Graph
from export.networks.audio2head.audio2kp import Audio2Kp
from export.networks.audio2head.audio2pose import Audio2Pose
from export.networks.audio2head.generator import Generator
from export.networks.audio2head.graphs import (
    EmbeddingGraph,
    FrameGraph,
    KeyPointGraph,
    PictureGraph,
    PoseGraph,
)
from export.networks.audio2head.kp_detector import KpDetector


def picture_export(
    kp_detector: KpDetector,
    generator: Generator,
    audio2pose: Audio2Pose,
    batch: int,
    random: torch.Generator,
) -> ExportSpec:
    """`audio2head_picture`: once per face."""
    graph = PictureGraph(kp_detector, generator, audio2pose).eval()
    names = ("features", "small_picture", "key_points", "jacobians", "vector", "pose")
    inputs = {"picture": _picture(batch, random)}
    return ExportSpec(
        "audio2head_picture",
        graph,
        inputs,
        dict.fromkeys(names, 1e-4),
        full_precision=("detector",),
    )


def embedding_export(audio2pose: Audio2Pose, batch: int, random: torch.Generator) -> ExportSpec:
    """`audio2head_embedding`: every video frame, all of a request at once."""
    audio = _uniform((batch, 4, 41), -20.0, 20.0, random)
    return ExportSpec(
        "audio2head_embedding",
        EmbeddingGraph(audio2pose).eval(),
        {"audio": audio},
        {"embedding": 1e-4},
    )


def pose_export(audio2pose: Audio2Pose, batch: int, random: torch.Generator) -> ExportSpec:
    """`audio2head_pose`: every video frame, one after the other."""
    inputs = {
        "embedding": _uniform((batch, 256), -1.0, 1.0, random),
        "vector": _uniform((batch, 256), -1.0, 1.0, random),
        "hidden": _uniform((batch, 2, 256), -1.0, 1.0, random),
        "cell": _uniform((batch, 2, 256), -1.0, 1.0, random),
    }
    outputs = dict.fromkeys(("pose", "next_vector", "next_hidden", "next_cell"), 1e-5)
    return ExportSpec("audio2head_pose", PoseGraph(audio2pose).eval(), inputs, outputs)


def key_point_export(audio2kp: Audio2Kp, batch: int, random: torch.Generator) -> ExportSpec:
    """`audio2head_key_points`: every 32 video frames."""
    boxes = torch.rand((batch, 64, 256, 256), generator=random) > 0.95
    inputs = {
        "audio": _uniform((batch, 64, 4, 41), -20.0, 20.0, random),
        "boxes": boxes.to(torch.uint8) * 255,
        "picture": _picture(batch, random),
    }
    outputs = {"key_points": 1e-4, "jacobians": 1e-4}
    return ExportSpec(
        "audio2head_key_points",
        KeyPointGraph(audio2kp).eval(),
        inputs,
        outputs,
        full_precision=("audio2kp",),
    )


def frame_export(generator: Generator, batch: int, random: torch.Generator) -> ExportSpec:
    """`audio2head_frame`: every video frame.

    A value beside a whole number may be truncated to either grey level.
    """
    source = _uniform((batch, 10, 2), -0.7, 0.7, random)
    inputs = {
        "features": _uniform((batch, 256, 64, 64), 0.0, 1.0, random),
        "small_picture": _uniform((batch, 3, 64, 64), 0.0, 1.0, random),
        "source_key_points": source,
        "source_jacobians": _jacobians(batch, random),
        "key_points": source + _uniform((batch, 10, 2), -0.2, 0.2, random),
        "jacobians": _jacobians(batch, random),
    }
    module = FrameGraph(generator).eval()
    return ExportSpec(
        "audio2head_frame", module, inputs, {"frame": 1.0}, full_precision=("dense_motion_network",)
    )


GRAPHS: Final = (
    Graph("audio2head_embedding", ("audio2pose",), embedding_export),
    Graph("audio2head_pose", ("audio2pose",), pose_export),
    Graph("audio2head_picture", ("kp_detector", "generator", "audio2pose"), picture_export),
    Graph("audio2head_frame", ("generator",), frame_export, batches=(1, 2)),
    Graph("audio2head_key_points", ("audio2kp",), key_point_export, batches=(1, 2)),
)
"""Graphs, the cheap ones first."""


def _picture(batch: int, random: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (batch, 256, 256, 3), dtype=torch.uint8, generator=random)


def _uniform(shape: tuple[int, ...], low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=random)


def _jacobians(batch: int, random: torch.Generator) -> Tensor:
    return torch.eye(2) + _uniform((batch, 10, 2, 2), -0.3, 0.3, random)
