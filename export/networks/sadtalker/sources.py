"""Sections of SadTalker's networks in the public checkpoints, and their licences."""

from __future__ import annotations

from typing import Final

from export.base import PublicNetwork
from export.networks.sadtalker.catalogue import NETWORKS as MODULES
from export.weights import WeightsSource

ORIGIN: Final = "github.com/OpenTalker/SadTalker"

LICENCE: Final = (
    "unstated; the code is Apache-2.0, "
    "training began from Wav2Lip (non-commercial) and used VoxCeleb and the BFM face model"
)


def _network(
    name: str,
    words: str,
    sections: tuple[str, ...],
    file: str = "SadTalker_V0.0.2_256.safetensors",
    **seeded: object,
) -> PublicNetwork:
    source = WeightsSource(words, sections, f"{ORIGIN}, {file}", LICENCE)
    return PublicNetwork(source, MODULES[name], **seeded)  # type: ignore[arg-type]


MAPPING_GAINS: Final = {"fc_t.weight": 0.1, "fc_exp.weight": 0.1}

NETWORKS: Final = {
    "generator": _network(
        "generator",
        "SadTalker's renderer",
        ("generator",),
        gains={
            "dense_motion_network.mask.weight": 9.6,
            "dense_motion_network.occlusion.weight": 6.0,
        },
    ),
    "kp_extractor": _network(
        "kp_extractor",
        "SadTalker's key point detector",
        ("kp_extractor", "kp_detector"),
        gain=1.41,
        constants=frozenset({"down.weight"}),
    ),
    "mapping70": _network(
        "mapping70",
        "SadTalker's mapping network",
        ("mapping",),
        "mapping_00229-model.pth.tar",
        gains=MAPPING_GAINS,
    ),
    "mapping73": _network(
        "mapping73",
        "SadTalker's mapping network for whole pictures",
        ("mapping",),
        "mapping_00109-model.pth.tar",
        gains=MAPPING_GAINS,
    ),
    "audio2exp": _network("audio2exp", "SadTalker's audio-to-expression network", ("audio2exp",)),
    "audio2pose": _network("audio2pose", "SadTalker's audio-to-pose network", ("audio2pose",)),
    "face_3drecon": _network(
        "face_3drecon", "SadTalker's face reconstruction", ("face_3drecon", "net_recon")
    ),
}
"""Networks by prefix in the safetensors file.

The sections of the older files of release 0.0.2 are known too.
"""
