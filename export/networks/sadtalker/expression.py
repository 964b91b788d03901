"""Speech to the 64 expression coefficients of a video frame.

Architecture: SadTalker's ExpNet; upstream `src/audio2exp_models/networks.py`.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from export.networks.sadtalker.audio_encoder import EMBEDDING, audio_encoder

EXPRESSION: Final = 64


class AudioToExpression(nn.Module):
    """Expression of single frames, independent of each other.

    The output is the expression itself, not a difference.
    """

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = audio_encoder()
        self.mapping1 = nn.Linear(EMBEDDING + EXPRESSION + 1, EXPRESSION)

    def forward(self, mel: Tensor, reference: Tensor, blink: Tensor) -> Tensor:
        """Mel, the photo's expression and the closing of the lids to expressions `[N, 64]`.

        Mel windows `[N, 1, 80, 16]`, photo `[N, 64]`, lids `[N, 1]`.
        """
        embedding = self.audio_encoder(mel).flatten(1)
        return self.mapping1(torch.cat((embedding, reference, blink), dim=1))
