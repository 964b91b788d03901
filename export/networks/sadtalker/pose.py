"""Audio, a style and noise to 32 frames of head motion.

Architecture: SadTalker's PoseVAE; upstream
`src/audio2pose_models/{audio2pose,cvae,networks,audio_encoder,discriminator}.py`. The VAE's encoder
and the discriminator are here because the checkpoint holds them; generation needs neither.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import torch
from torch import Tensor, nn

from export.networks.sadtalker.audio_encoder import EMBEDDING, audio_encoder
from export.networks.sadtalker.pose_unet import PoseUNet

FRAMES: Final = 32
POSE: Final = 6
"""Three angles and three translations."""
STYLES: Final = 46
LATENT: Final = 64


class AudioToPose(nn.Module):
    """Mel windows to motion relative to the photo's pose."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = SequenceEncoder()
        self.netG = ConditionalVae()
        self.netD_motion = MotionDiscriminator()

    def forward(self, mel: Tensor, noise: Tensor, style: Tensor, reference: Tensor) -> Tensor:
        """Audio, noise, style and the photo's pose to motion `[B, 32, 6]`.

        Mel `[B, 32, 1, 80, 16]`, noise `[B, 64]`, style numbers `[B]`, pose `[B, 6]`.
        """
        return self.netG.decoder(self.audio_encoder(mel), noise, style, reference)


class SequenceEncoder(nn.Module):
    """The audio encoder over a sequence of windows."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = audio_encoder()

    def forward(self, mel: Tensor) -> Tensor:
        """`[B, T, 1, 80, 16]` to `[B, T, 512]`."""
        return self.audio_encoder(mel.flatten(0, 1)).reshape(-1, int(mel.shape[1]), EMBEDDING)


class ConditionalVae(nn.Module):
    """The two halves under the checkpoint's names."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PoseEncoder()
        self.decoder = PoseDecoder()


class PoseEncoder(nn.Module):
    """A known motion to the mean of its latent; upstream never uses its `linear_logvar`."""

    def __init__(self) -> None:
        super().__init__()
        self.classbias = nn.Parameter(torch.zeros(STYLES, LATENT))
        self.resunet = PoseUNet()
        self.MLP = nn.Sequential(
            OrderedDict(L0=nn.Linear(POSE + 2 * FRAMES * POSE + LATENT, 128), A0=nn.ReLU())
        )
        self.linear_means, self.linear_logvar = nn.Linear(128, LATENT), nn.Linear(128, LATENT)
        self.linear_audio = nn.Linear(EMBEDDING, POSE)

    def forward(self, motion: Tensor, audio: Tensor, style: Tensor, reference: Tensor) -> Tensor:
        """Motion, audio, style and pose to the latent `[B, 64]`.

        Motion `[B, 32, 6]`, audio `[B, 32, 512]`, style numbers `[B]`, pose `[B, 6]`.
        """
        seen = self.resunet(motion[:, None]).flatten(1)
        heard = self.linear_audio(audio).flatten(1)
        return self.linear_means(
            self.MLP(torch.cat((reference, seen, heard, self.classbias[style]), dim=1))
        )


class PoseDecoder(nn.Module):
    """A latent, shifted by the style, to a motion."""

    def __init__(self) -> None:
        super().__init__()
        self.classbias = nn.Parameter(torch.zeros(STYLES, LATENT))
        self.resunet = PoseUNet()
        layers = {
            "L0": nn.Linear(POSE + LATENT + FRAMES * POSE, 128),
            "A0": nn.ReLU(),
            "L1": nn.Linear(128, FRAMES * POSE),
            "sigmoid": nn.Sigmoid(),
        }
        self.MLP = nn.Sequential(OrderedDict(layers))
        self.pose_linear = nn.Linear(POSE, POSE)
        self.linear_audio = nn.Linear(EMBEDDING, POSE)

    def forward(self, audio: Tensor, noise: Tensor, style: Tensor, reference: Tensor) -> Tensor:
        """Audio, noise, style and pose to motion `[B, 32, 6]`.

        Audio `[B, 32, 512]`, noise `[B, 64]`, style numbers `[B]`, pose `[B, 6]`.
        """
        heard = self.linear_audio(audio).flatten(1)
        drawn = self.MLP(torch.cat((reference, noise + self.classbias[style], heard), dim=1))
        return self.pose_linear(self.resunet(drawn.reshape(-1, 1, FRAMES, POSE))[:, 0])


class MotionDiscriminator(nn.Module):
    """Discriminator of motions in training; kept so that checkpoints load strictly."""

    def __init__(self) -> None:
        super().__init__()
        last = nn.Conv1d(1024, 1, 3)
        self.seq = nn.Sequential(
            DiscriminatorConv(POSE, 256, 4),
            DiscriminatorConv(256, 512, 4),
            DiscriminatorConv(512, 1024, 3),
            last,
        )


class DiscriminatorConv(nn.Module):
    """Convolution over time without a bias, and its batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, bias=False)
        self.norm = nn.BatchNorm1d(outputs)
