"""Files of Wav2Lip's networks among the public checkpoints, and their licences."""

from __future__ import annotations

from typing import Final

from export.base import PublicNetwork
from export.networks.wav2lip.generator import Generator
from export.networks.wav2lip.quality_discriminator import QualityDiscriminator
from export.networks.wav2lip.s3fd import S3fd
from export.networks.wav2lip.syncnet import SyncNet
from export.weights import WeightsSource

ORIGIN: Final = "github.com/Rudrabha/Wav2Lip"

LICENCE: Final = "personal, research and non-commercial use only (trained on LRS2)"

NETWORKS: Final = {
    "generator": PublicNetwork(
        WeightsSource(
            "Wav2Lip's generator",
            (),
            f"{ORIGIN}, wav2lip_gan.pth, wav2lip.pth or Wav2Lip-SD-*.pt",
            LICENCE,
        ),
        Generator,
        gains={"output_block.1.weight": 0.5},
    ),
    "syncnet": PublicNetwork(
        WeightsSource("Wav2Lip's SyncNet", (), f"{ORIGIN}, lipsync_expert.pth", LICENCE), SyncNet
    ),
    "visual_quality_disc": PublicNetwork(
        WeightsSource(
            "Wav2Lip's quality discriminator", (), f"{ORIGIN}, visual_quality_disc.pth", LICENCE
        ),
        QualityDiscriminator,
        gain=1.4,
    ),
    "s3fd": PublicNetwork(
        WeightsSource(
            "the S3FD face detector",
            (),
            "github.com/1adrianb/face-alignment, s3fd-619a316812.pth",
            "unstated; the code is BSD-3-Clause",
        ),
        S3fd,
        gain=1.4,
    ),
}
"""Networks, each in a separate file."""
