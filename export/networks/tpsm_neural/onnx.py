"""What to export of TPSM: for each served network its module, example inputs, tensor names and tolerances."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from export.networks.tpsm_neural.dense_motion import DenseMotionNetwork
from export.networks.tpsm_neural.inpainting import InpaintingNetwork
from export.networks.tpsm_neural.key_points import KEY_POINTS, AvdNetwork, BackgroundPredictor, KeyPointDetector
from export.networks.tpsm_neural.serving import ServedBackground, ServedFrames, ServedKeyPoints, ServedSource
from orchestrator.models.tpsm_neural_motion import PICTURE_SIZE

OPSET: Final = 18

POINTS_TOLERANCE: Final = 1e-5

FEATURES: Final = {"features_256": (64, 256), "features_128": (128, 128), "features_64": (256, 64), "features_32": (512, 32)}
"""Channels and side of the source's features, which travel in half precision."""

FEATURES_TOLERANCE: Final = 8e-3
"""One step of half precision at 8..16: a value beside the middle of two steps may fall to either."""

FRAME_TOLERANCE: Final = 1.0
"""Grey levels, for a value beside the middle of two."""


class OnnxExport(NamedTuple):
    """One graph; axis 0 of every tensor is the batch."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    """Examples of batch 2."""
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    tolerances: tuple[float, ...]
    """Largest difference to the module, per output."""
    free_axes: dict[str, dict[int, str]]
    """Axes other than the batch whose length is free, by tensor."""


def key_points_export(detector: KeyPointDetector) -> OnnxExport:
    """Key points of the source and of every driving picture: `tpsm_neural_key_points`."""
    return OnnxExport(ServedKeyPoints(detector).eval(), (_picture(),), ("picture",), ("points",), (POINTS_TOLERANCE,), {})


def source_export(inpainting: InpaintingNetwork) -> OnnxExport:
    """What depends on the source picture alone, 30 of 254 GFLOP of a frame: `tpsm_neural_source`."""
    module = ServedSource(inpainting).eval()
    return OnnxExport(module, (_picture(),), ("picture",), tuple(FEATURES), (FEATURES_TOLERANCE,) * len(FEATURES), {})


def frames_export(dense_motion: DenseMotionNetwork, inpainting: InpaintingNetwork) -> OnnxExport:
    """Frames of one chunk: `tpsm_neural_frames`."""
    features = tuple(torch.rand(2, channels, side, side).half() for channels, side in FEATURES.values())
    free = {"driving_points": {1: "frames"}, "frames": {1: "frames"}}
    inputs = (_picture(), _points(2, KEY_POINTS), _points(2, 2, KEY_POINTS), *features)
    names = ("picture", "source_points", "driving_points", *FEATURES)
    return OnnxExport(ServedFrames(dense_motion, inpainting).eval(), inputs, names, ("frames",), (FRAME_TOLERANCE,), free)


def avd_export(network: AvdNetwork) -> OnnxExport:
    """Driving key points with the identity of the source: `tpsm_neural_avd`."""
    inputs = (_points(2, KEY_POINTS), _points(2, KEY_POINTS))
    return OnnxExport(network.eval(), inputs, ("source_points", "driving_points"), ("points",), (POINTS_TOLERANCE,), {})


def background_export(predictor: BackgroundPredictor) -> OnnxExport:
    """Motion of the background between two pictures: `tpsm_neural_background`."""
    inputs = (_picture(), _picture())
    return OnnxExport(ServedBackground(predictor).eval(), inputs, ("source", "driving"), ("matrix",), (POINTS_TOLERANCE,), {})


def _picture() -> Tensor:
    return torch.randint(0, 256, (2, PICTURE_SIZE, PICTURE_SIZE, 3), dtype=torch.uint8)


def _points(*shape: int) -> Tensor:
    return torch.rand(*shape, 2) * 1.6 - 0.8
