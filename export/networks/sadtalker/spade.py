"""Decoder that paints the frame, with each layer's scale and shift from the warped photo.

Architecture: SPADE (Park et al., CVPR 2019); upstream `src/facerender/modules/generator.py` and
`util.py`.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.sadtalker.blocks import spatial_sizes

LABELS: Final = 256
HIDDEN: Final = 128
MIDDLE: Final = 512
SLOPE: Final = 0.2


class SpectralConv2d(nn.Module):
    """Convolution stored as trained with spectral norm.

    The weight is `weight_orig` over its largest singular value.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer("weight_u", torch.zeros(outputs))
        self.register_buffer("weight_v", torch.zeros(inputs * kernel * kernel))

    def sigma(self) -> Tensor:
        """The singular value `[]` that belongs to the stored vectors."""
        return torch.dot(self.weight_u, torch.mv(self.weight_orig.flatten(1), self.weight_v))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, D, H, W]`."""
        weight = self.weight_orig / self.sigma()
        return functional.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)

    def folded(self) -> nn.Conv2d:
        """The same as a plain convolution, for export."""
        outputs, inputs, kernel, _ = self.weight_orig.shape
        plain = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=self.bias is not None)
        with torch.no_grad():
            plain.weight.copy_(self.weight_orig / self.sigma())
            if plain.bias is not None and self.bias is not None:
                plain.bias.copy_(self.bias)
        return plain


class Spade(nn.Module):
    """Instance norm of `[B, C, H, W]`, scaled and shifted by the label map `[B, 256, h, w]`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(LABELS, HIDDEN, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(HIDDEN, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(HIDDEN, channels, 3, padding=1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """The modulated map."""
        scale = spatial_sizes(x)[0] // spatial_sizes(labels)[0]
        hidden = self.mlp_shared(functional.interpolate(labels, scale_factor=scale))
        return functional.instance_norm(x) * (1.0 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


class SpadeBlock(nn.Module):
    """Residual block; a change of width gives the shortcut a separate norm and convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        self.conv_0 = SpectralConv2d(inputs, middle, 3)
        self.conv_1 = SpectralConv2d(middle, outputs, 3)
        self.norm_0, self.norm_1 = Spade(inputs), Spade(middle)
        self.learned_shortcut = inputs != outputs
        if self.learned_shortcut:
            self.conv_s = SpectralConv2d(inputs, outputs, 1, bias=False)
            self.norm_s = Spade(inputs)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, D, H, W]`."""
        shortcut = self.conv_s(self.norm_s(x, labels)) if self.learned_shortcut else x
        y = self.conv_0(functional.leaky_relu(self.norm_0(x, labels), SLOPE))
        return shortcut + self.conv_1(functional.leaky_relu(self.norm_1(y, labels), SLOPE))


class SpadeDecoder(nn.Module):
    """Warped photo features `[B, 256, 64, 64]` to a picture `[B, 3, 256, 256]`, RGB 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(LABELS, MIDDLE, 3, padding=1)
        for index in range(6):
            self.add_module(f"G_middle_{index}", SpadeBlock(MIDDLE, MIDDLE))
        self.up_0 = SpadeBlock(MIDDLE, 256)
        self.up_1 = SpadeBlock(256, 64)
        self.conv_img = nn.Conv2d(64, 3, 3, padding=1)

    def forward(self, labels: Tensor) -> Tensor:
        """The frame."""
        x = self.fc(labels)
        for index in range(6):
            x = self.get_submodule(f"G_middle_{index}")(x, labels)
        for block in (self.up_0, self.up_1):
            x = block(functional.interpolate(x, scale_factor=2), labels)
        return torch.sigmoid(self.conv_img(functional.leaky_relu(x, SLOPE)))
