"""Sections of Audio2Head's networks in the public checkpoint, and their licences."""

from __future__ import annotations

from typing import Final

from export.base import PublicNetwork
from export.networks.audio2head.audio2kp import Audio2Kp
from export.networks.audio2head.audio2pose import Audio2Pose
from export.networks.audio2head.generator import Generator
from export.networks.audio2head.kp_detector import KpDetector
from export.weights import WeightsSource

ORIGIN: Final = "github.com/wangsuzhen/Audio2Head, audio2head.pth.tar (about 756 MB)"

LICENCE: Final = (
    "unstated; the code has no licence either, "
    "and the weights were trained on VoxCeleb (videos of celebrities)"
)


def _source(network: str, section: str) -> WeightsSource:
    return WeightsSource(network, (section,), ORIGIN, LICENCE)


NETWORKS: Final = {
    "kp_detector": PublicNetwork(
        _source("Audio2Head's key point detector", "kp_detector"),
        KpDetector,
        gain=1.41,
        gains={"jacobian.weight": 0.2},
        constants=frozenset({"jacobian.bias", "down.weight"}),
    ),
    "generator": PublicNetwork(
        _source("Audio2Head's renderer", "generator"),
        Generator,
        gains={
            "dense_motion_network.mask.weight": 8.0,
            "dense_motion_network.occlusion.weight": 6.0,
            "final.weight": 2.0,
        },
        constants=frozenset({"dense_motion_network.down.weight"}),
    ),
    "audio2kp": PublicNetwork(
        _source("Audio2Head's audio-to-key-points network", "audio2kp"),
        Audio2Kp,
        gains={
            "embedding.0.weight": 0.06,
            "embedding.3.weight": 16.0,
            "kp.weight": 0.03,
            "jacobian.weight": 0.012,
        },
        constants=frozenset({"down_id.weight", "down_pose.weight", "jacobian.bias"}),
    ),
    "audio2pose": PublicNetwork(
        _source("Audio2Head's head pose network", "audio2pose"),
        Audio2Pose,
        gains={
            "em_audio.resnet.conv1.weight": 0.1,
            "em_img.resnet.fc.weight": 0.06,
            **{f"lstm.weight_{kind}_l{layer}": 2.0 for kind in ("ih", "hh") for layer in (0, 1)},
            "output.weight": 2.0,
        },
    ),
}
"""Networks by section of the file."""
