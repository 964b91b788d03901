"""Cross-fade from the picture of one model to that of the next over a few frames.

The frames may be spread over several batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from orchestrator.core.types import RgbImage

CROSS_FADE_FRAMES: Final = 3
"""Frames of the transition between two models."""


class CrossFade:
    """State of a cross-fade within a turn."""

    def __init__(self) -> None:
        self._before: RgbImage | None = None
        self._done = 0

    def over(self, before: RgbImage | None, images: Sequence[RgbImage]) -> list[RgbImage]:
        """Fade the turn's next pictures.

        `before` is the last picture shown by the previous model where the model changes here, else
        None.
        """
        if before is not None:
            self._before, self._done = before, 0
        faded = list(images)
        for index, image in enumerate(images):
            if (
                self._before is None
                or self._before.shape != image.shape
                or self._done >= CROSS_FADE_FRAMES
            ):
                self._before = None
                break
            self._done += 1
            share = self._done / (CROSS_FADE_FRAMES + 1)
            faded[index] = np.asarray(
                cv2.addWeighted(image, share, self._before, 1.0 - share, 0.0), dtype=np.uint8
            )
        return faded
