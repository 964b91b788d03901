"""Where TPSM's networks lie in the public checkpoint `vox.pth.tar`, and what may be done with them."""

from __future__ import annotations

from typing import Final

from export.weights import WeightsSource

ORIGIN: Final = "github.com/yoyo-nb/Thin-Plate-Spline-Motion-Model, vox.pth.tar (about 335 MiB)"

LICENCE: Final = "unstated; the code is MIT, the weights were trained on VoxCeleb (videos of celebrities)"


def _source(network: str, section: str) -> WeightsSource:
    return WeightsSource(network, (section,), ORIGIN, LICENCE)


SOURCES: Final = {
    "kp_detector": _source("TPSM's key point detector", "kp_detector"),
    "dense_motion_network": _source("TPSM's dense motion network", "dense_motion_network"),
    "inpainting_network": _source("TPSM's inpainting network", "inpainting_network"),
    "avd_network": _source("TPSM's AVD network", "avd_network"),
    "bg_predictor": _source("TPSM's background predictor", "bg_predictor"),
}
"""By section of the file; other public files (taichi, ted, mgif) have other shapes and are refused."""

OPTIONAL: Final = frozenset({"avd_network", "bg_predictor"})
"""Not needed for relative motion; a file may lack them."""
