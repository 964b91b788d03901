"""SadTalker's head motion over a whole utterance, in chunks of 32 frames, and their joining.

Source: OpenTalker/SadTalker, `src/audio2pose_models/audio2pose.py` and `src/test_audio2coeff.py`.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

CHUNK: Final = 32
SMOOTHING_FRAMES: Final = 13
SMOOTHING_ORDER: Final = 2


def pose_chunks(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mel windows `[t, 1, 80, 16]` of a sequence as network inputs `[n, 32, 1, 80, 16]`.

    The first frame keeps the photo's pose and is not sent. A rest shorter than a chunk is sent as
    the last 32 windows; where there are fewer, the first is repeated before them.
    """
    moving = windows[1:]
    full, rest = divmod(len(moving), CHUNK)
    chunks = [moving[i * CHUNK : (i + 1) * CHUNK] for i in range(full)]
    if rest:
        tail = moving[-CHUNK:]
        chunks.append(np.concatenate((np.repeat(tail[:1], CHUNK - len(tail), axis=0), tail)))
    return np.stack(chunks) if chunks else np.zeros((0, CHUNK, *windows.shape[1:]), np.float32)


def joined_pose(
    motion: NDArray[np.float32], reference: NDArray[np.float32], frames: int
) -> NDArray[np.float32]:
    """Poses `[frames, 6]` from the network's motions `[n, 32, 6]` and the photo's pose `[6]`."""
    full, rest = divmod(frames - 1, CHUNK)
    parts = [np.zeros((1, motion.shape[2]), np.float32), *motion[:full]]
    if rest:
        parts.append(motion[-1, -rest:])
    pose: NDArray[np.float32] = reference + np.concatenate(parts)
    return pose


def smoothed(pose: NDArray[np.float32]) -> NDArray[np.float32]:
    """Savitzky-Golay along time of `[frames, 6]`, half a second wide.

    One or two frames stay as they are. The ends, which have no whole window around them, take the
    values of the first and the last window's parabola.
    """
    if len(pose) <= SMOOTHING_ORDER:
        return pose
    width = min(SMOOTHING_FRAMES, 2 * ((len(pose) - 1) // 2) + 1)
    fit, half = parabola_fit(width), width // 2
    inner = np.lib.stride_tricks.sliding_window_view(pose, width, axis=0) @ fit[half]
    return np.concatenate(
        [fit[:half] @ pose[:width], inner, fit[half + 1 :] @ pose[-width:]]
    ).astype(np.float32)


@cache
def parabola_fit(width: int) -> NDArray[np.float64]:
    """Matrix `[width, width]` of parabola fits to `width` (odd) values.

    Row i gives the i-th value of the best fitting parabola. Source: A. Savitzky, M. J. E. Golay,
    "Smoothing and differentiation of data by simplified least squares procedures", 1964.
    """
    powers = np.vander(np.arange(width, dtype=np.float64) - width // 2, SMOOTHING_ORDER + 1)
    fit: NDArray[np.float64] = powers @ np.linalg.pinv(powers)
    return fit
