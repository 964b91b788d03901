"""The networks by the reference's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import nn

from export.networks.sadtalker.expression import AudioToExpression
from export.networks.sadtalker.key_points import KeyPointExtractor
from export.networks.sadtalker.mapping import CoefficientMapping
from export.networks.sadtalker.pose import AudioToPose
from export.networks.sadtalker.reconstruction import FaceReconstruction
from export.networks.sadtalker.renderer import FaceRenderer

NETWORKS: Final[dict[str, Callable[[], nn.Module]]] = {
    "generator": FaceRenderer,
    "kp_extractor": KeyPointExtractor,
    "mapping70": lambda: CoefficientMapping(70),
    "mapping73": lambda: CoefficientMapping(73),
    "audio2exp": AudioToExpression,
    "audio2pose": AudioToPose,
    "face_3drecon": FaceReconstruction,
}
"""Modules by name; the name and a dot prefix the network's keys in the public file.

The mapping nets have files of their own.
"""
