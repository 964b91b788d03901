"""Test card: an image with a known answer, for self tests of the renderer.

It proves that tensors reach the renderer and come back whole, without any face.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.rendering.motion import MOTION_PARAMETERS

CARD_FACE: Final = bytes(32)
"""The face hash that selects the test card instead of a face."""

CARD_SIZE: Final = 16


def card_frame(motion: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`[16, 16, 3]` for one motion row `[11]`.

    Integer arithmetic on the row's 1/256 steps, so it is exact everywhere.
    """
    steps = np.clip(np.rint(motion.astype(np.float64) * 256.0), -32768, 32767).astype(np.int64)
    weights = np.arange(1, len(MOTION_PARAMETERS) + 1, dtype=np.int64) * 7 + 1
    y, x, channel = np.meshgrid(
        np.arange(CARD_SIZE), np.arange(CARD_SIZE), np.arange(3), indexing="ij"
    )
    frame: NDArray[np.uint8] = ((x * 3 + y * 5 + channel * 11 + int(steps @ weights)) % 256).astype(
        np.uint8
    )
    return frame
