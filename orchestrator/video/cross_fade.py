"""Lets the picture of one model grow out of that of another over a few frames, which need not come
in one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from orchestrator.core.types import RgbImage

CROSS_FADE_FRAMES: Final = 3
"""Frames over which the picture of one model gives way to the next one's."""


class CrossFade:
    """What a turn remembers of a switch until it is over."""

    def __init__(self) -> None:
        self._before: RgbImage | None = None
        self._done = 0

    def over(self, before: RgbImage | None, images: Sequence[RgbImage]) -> list[RgbImage]:
        """The turn's next pictures; `before` was shown last where another model draws from here on,
        else None.
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
