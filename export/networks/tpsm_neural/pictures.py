"""Pictures as the upstream demo reads and writes them: RGB, 0..1.

Source: yoyo-nb/Thin-Plate-Spline-Motion-Model, `demo.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from orchestrator.models.tpsm_neural.motion import PICTURE_SIZE


def resize_picture(picture: NDArray[np.uint8], size: int = PICTURE_SIZE) -> NDArray[np.float32]:
    """`[H, W, 3]` (more channels are cut off) -> `[size, size, 3]`, 0..1.

    As scikit-image's `resize` does it: where the picture shrinks, a Gaussian of (factor - 1) / 2
    pixels per axis against aliasing, then bilinear values between pixel centres, mirrored at the
    border; in float64.
    """
    values = picture[..., :3].astype(np.float64) / 255.0
    factors = np.array([values.shape[0] / size, values.shape[1] / size, 1.0])
    if (factors > 1).any():
        values = ndimage.gaussian_filter(values, np.maximum(0.0, (factors - 1) / 2), mode="mirror")
    resized: NDArray[np.float64] = ndimage.zoom(
        values, 1 / factors, order=1, mode="mirror", grid_mode=True
    )
    return resized.astype(np.float32)


def quantise_picture(picture: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """0..1 -> 0..255, rounded to the nearest level (halves to even)."""
    levels: NDArray[np.floating[Any]] = np.rint(np.clip(picture, 0, 1) * 255)
    return levels.astype(np.uint8)
