"""S3FD, upstream's face detector: six feature levels, each with a class and a box head.

Source of the architecture: Zhang et al., ICCV 2017 (arXiv:1708.05237); 1adrianb/face-alignment,
`detection/sfd/net_s3fd.py`.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

VGG_GROUPS: Final = ((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3))
"""(inputs, outputs, convolutions) of each group of 3x3 convolutions.

A 2x2 max pool follows each group.
"""

HEADS: Final = (
    ("conv3_3_norm", 256, 4),
    ("conv4_3_norm", 512, 2),
    ("conv5_3_norm", 512, 2),
    ("fc7", 1024, 2),
    ("conv6_2", 512, 2),
    ("conv7_2", 256, 2),
)
"""(source, its channels, class channels) of each level.

The first level has three votes for background.
"""


class L2Norm(nn.Module):
    """Scale each pixel's vector over the channels to length `weight`.

    `[B, C, H, W]` to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; 1e-10 keeps a zero vector zero."""
        return x / (x.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10) * self.weight[:, None, None]


class S3fd(nn.Module):
    """`image [B, 3, H, W]` to raw classes `[B, 2, h, w]` and boxes `[B, 4, h, w]` per level.

    The image is RGB minus 104, 117, 123.
    """

    def __init__(self) -> None:
        super().__init__()
        for group, (inputs, outputs, count) in enumerate(VGG_GROUPS, start=1):
            for index in range(1, count + 1):
                self.add_module(
                    f"conv{group}_{index}",
                    nn.Conv2d(inputs if index == 1 else outputs, outputs, 3, padding=1),
                )
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1, self.conv6_2 = (
            nn.Conv2d(1024, 256, 1),
            nn.Conv2d(256, 512, 3, stride=2, padding=1),
        )
        self.conv7_1, self.conv7_2 = (
            nn.Conv2d(512, 128, 1),
            nn.Conv2d(128, 256, 3, stride=2, padding=1),
        )
        self.conv3_3_norm, self.conv4_3_norm, self.conv5_3_norm = (
            L2Norm(256),
            L2Norm(512),
            L2Norm(512),
        )
        for source, channels, classes in HEADS:
            self.add_module(f"{source}_mbox_conf", nn.Conv2d(channels, classes, 3, padding=1))
            self.add_module(f"{source}_mbox_loc", nn.Conv2d(channels, 4, 3, padding=1))

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(classes, boxes) of the six levels, from stride 4 to stride 128."""
        levels = []
        for (source, _, _), features in zip(HEADS, self._sources(image), strict=True):
            classes = self.get_submodule(f"{source}_mbox_conf")(features)
            levels.append(
                (_two_classes(classes), self.get_submodule(f"{source}_mbox_loc")(features))
            )
        return levels

    def _sources(self, x: Tensor) -> list[Tensor]:
        sources = []
        for group, (_, _, count) in enumerate(VGG_GROUPS, start=1):
            for index in range(1, count + 1):
                x = functional.relu(self.get_submodule(f"conv{group}_{index}")(x))
            if group >= 3:
                sources.append(self.get_submodule(f"conv{group}_3_norm")(x))
            x = functional.max_pool2d(x, 2)
        sources.append(functional.relu(self.fc7(functional.relu(self.fc6(x)))))
        sources.append(functional.relu(self.conv6_2(functional.relu(self.conv6_1(sources[-1])))))
        sources.append(functional.relu(self.conv7_2(functional.relu(self.conv7_1(sources[-1])))))
        return sources


def _two_classes(classes: Tensor) -> Tensor:
    """Two classes; background is the strongest of all but the last channel."""
    return torch.cat((classes[:, :-1].amax(dim=1, keepdim=True), classes[:, -1:]), dim=1)
