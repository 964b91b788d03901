"""Pictures that move, for coders."""

from __future__ import annotations

import numpy as np

from orchestrator.types import RgbImage


def moving_picture(index: int, size: int = 256) -> RgbImage:
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    waves = [127 + 80 * np.sin((x * (channel + 1) + y + 4 * index) / 23.0) for channel in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)
