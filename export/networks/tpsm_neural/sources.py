"""Sections of TPSM's networks in the public checkpoint `vox.pth.tar`, and their licences."""

from __future__ import annotations

from typing import Final

from export.base import PublicNetwork
from export.networks.tpsm_neural.dense_motion import DenseMotionNetwork
from export.networks.tpsm_neural.inpainting import InpaintingNetwork
from export.networks.tpsm_neural.key_points import AvdNetwork, BackgroundPredictor, KeyPointDetector
from export.weights import WeightsSource

ORIGIN: Final = "github.com/yoyo-nb/Thin-Plate-Spline-Motion-Model, vox.pth.tar (about 335 MiB)"

LICENCE: Final = (
    "unstated; the code is MIT, the weights were trained on VoxCeleb (videos of celebrities)"
)


def _source(network: str, section: str) -> WeightsSource:
    return WeightsSource(network, (section,), ORIGIN, LICENCE)


NETWORKS: Final = {
    "kp_detector": PublicNetwork(
        _source("TPSM's key point detector", "kp_detector"), KeyPointDetector
    ),
    "dense_motion_network": PublicNetwork(
        _source("TPSM's dense motion network", "dense_motion_network"),
        DenseMotionNetwork,
        constants=frozenset({"down.weight"}),
    ),
    "inpainting_network": PublicNetwork(
        _source("TPSM's inpainting network", "inpainting_network"), InpaintingNetwork
    ),
    "avd_network": PublicNetwork(_source("TPSM's AVD network", "avd_network"), AvdNetwork),
    "bg_predictor": PublicNetwork(
        _source("TPSM's background predictor", "bg_predictor"),
        BackgroundPredictor,
        gains={"bg_encoder.fc.weight": 0.3},
    ),
}
"""Networks by section of the file.

Other public files (taichi, ted, mgif) have other shapes and are rejected.
"""
