"""What is exported of Audio2Head: one declaration per served network, with names, example inputs and tolerances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from export.networks.audio2head.graphs import EmbeddingGraph, FrameGraph, KeyPointGraph, PictureGraph, PoseGraph
from export.networks.audio2head.pipeline import Audio2Head

OPSET: Final = 18
"""Nothing in the graphs is newer than `GridSample` of opset 16; the jacobians' inverse is in closed form, for ONNX has none."""


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


def graph_exports(networks: Audio2Head, batch: int) -> tuple[GraphExport, ...]:
    """All graphs, the cheap ones first, with random examples of `batch` rows."""
    random = torch.Generator().manual_seed(0)
    return (
        embedding_export(networks, batch, random),
        pose_export(networks, batch, random),
        picture_export(networks, batch, random),
        frame_export(networks, batch, random),
        key_point_export(networks, batch, random),
    )


def picture_export(networks: Audio2Head, batch: int, random: torch.Generator) -> GraphExport:
    """`audio2head_picture`: once per face."""
    graph = PictureGraph(networks.kp_detector, networks.generator, networks.audio2pose).eval()
    names = ("features", "small_picture", "key_points", "jacobians", "vector", "pose")
    return GraphExport("audio2head_picture", graph, {"picture": _picture(batch, random)}, dict.fromkeys(names, 1e-4))


def embedding_export(networks: Audio2Head, batch: int, random: torch.Generator) -> GraphExport:
    """`audio2head_embedding`: every video frame, all of a request at once."""
    audio = _uniform((batch, 4, 41), -20.0, 20.0, random)
    return GraphExport("audio2head_embedding", EmbeddingGraph(networks.audio2pose).eval(), {"audio": audio}, {"embedding": 1e-4})


def pose_export(networks: Audio2Head, batch: int, random: torch.Generator) -> GraphExport:
    """`audio2head_pose`: every video frame, one after the other."""
    inputs = {
        "embedding": _uniform((batch, 256), -1.0, 1.0, random),
        "vector": _uniform((batch, 256), -1.0, 1.0, random),
        "hidden": _uniform((batch, 2, 256), -1.0, 1.0, random),
        "cell": _uniform((batch, 2, 256), -1.0, 1.0, random),
    }
    outputs = dict.fromkeys(("pose", "next_vector", "next_hidden", "next_cell"), 1e-5)
    return GraphExport("audio2head_pose", PoseGraph(networks.audio2pose).eval(), inputs, outputs)


def key_point_export(networks: Audio2Head, batch: int, random: torch.Generator) -> GraphExport:
    """`audio2head_key_points`: every 32 video frames."""
    boxes = torch.rand((batch, 64, 256, 256), generator=random) > 0.95
    inputs = {
        "audio": _uniform((batch, 64, 4, 41), -20.0, 20.0, random),
        "boxes": boxes.to(torch.uint8) * 255,
        "picture": _picture(batch, random),
    }
    outputs = {"key_points": 1e-4, "jacobians": 1e-4}
    return GraphExport("audio2head_key_points", KeyPointGraph(networks.audio2kp).eval(), inputs, outputs)


def frame_export(networks: Audio2Head, batch: int, random: torch.Generator) -> GraphExport:
    """`audio2head_frame`: every video frame; a value beside a whole number may be truncated to either grey level."""
    source = _uniform((batch, 10, 2), -0.7, 0.7, random)
    inputs = {
        "features": _uniform((batch, 256, 64, 64), 0.0, 1.0, random),
        "small_picture": _uniform((batch, 3, 64, 64), 0.0, 1.0, random),
        "source_key_points": source,
        "source_jacobians": _jacobians(batch, random),
        "key_points": source + _uniform((batch, 10, 2), -0.2, 0.2, random),
        "jacobians": _jacobians(batch, random),
    }
    return GraphExport("audio2head_frame", FrameGraph(networks.generator).eval(), inputs, {"frame": 1.0})


def _picture(batch: int, random: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (batch, 256, 256, 3), dtype=torch.uint8, generator=random)


def _uniform(shape: tuple[int, ...], low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=random)


def _jacobians(batch: int, random: torch.Generator) -> Tensor:
    return torch.eye(2) + _uniform((batch, 10, 2, 2), -0.3, 0.3, random)
