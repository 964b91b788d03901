"""Pictures that move, for coders."""

from __future__ import annotations

import numpy as np

from orchestrator.core.types import RgbImage


def moving_picture(index: int, size: int = 256) -> RgbImage:
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    waves = [127 + 80 * np.sin((x * (channel + 1) + y + 4 * index) / 23.0) for channel in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def busy_picture(index: int, size: int = 512) -> RgbImage:
    """Noise on waves: more than any bitrate here can carry."""
    noise = np.random.default_rng(index).integers(0, 60, (size, size, 3))
    x = np.arange(size)
    return (
        (noise + 97 + 90 * np.sin((x[None, :, None] + 3 * index) / 17.0))
        .clip(0, 255)
        .astype(np.uint8)
    )
