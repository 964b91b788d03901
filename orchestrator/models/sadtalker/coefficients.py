"""Coefficient windows of SadTalker's mapping network, from expression and pose.

Source: OpenTalker/SadTalker, `src/generate_facerender_batch.py`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

EXPRESSION: Final = 64
POSED_VALUES: Final = 70
"""Expression and pose; a mapping net for whole images also reads the crop's three numbers."""

REACH_FRAMES: Final = 13
"""Frames to each side of a window's middle: half a second of look-ahead."""


def driving_rows(
    generated: NDArray[np.float32],
    source: NDArray[np.float32],
    *,
    width: int,
    expression_scale: float,
    still: bool,
) -> NDArray[np.float32]:
    """Coefficients `[t, width]` of the frames from generated ones `[t, 70]` and the photo's `[73]`.

    `width` is 70, or 73 to add the photo's crop. `still` keeps the photo's pose.
    """
    rows = np.repeat(source[None, :width], len(generated), axis=0)
    rows[:, :POSED_VALUES] = generated
    rows[:, :EXPRESSION] *= np.float32(expression_scale)
    if still:
        rows[:, EXPRESSION:] = source[EXPRESSION:width]
    return rows


def coefficient_windows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows `[t, C, 27]` around each row of `[t, C]`.

    The first and last row are repeated outside.
    """
    around = np.arange(len(rows))[:, None] + np.arange(-REACH_FRAMES, REACH_FRAMES + 1)
    return np.ascontiguousarray(rows[around.clip(0, len(rows) - 1)].transpose(0, 2, 1))


def still_window(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """A window `[C, 27]` that repeats one row `[C]`, as without motion."""
    return np.repeat(row[:, None], 2 * REACH_FRAMES + 1, axis=1)
