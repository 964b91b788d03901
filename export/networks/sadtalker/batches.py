"""Upstream's layout of a clip's frames in batches, and its camera path.

A live service needs neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def batched(frames: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """`[t, ...]` to `[batch, steps, ...]`.

    Each row holds consecutive frames; the last frame fills up.
    """
    steps = -(-len(frames) // batch)
    index = np.arange(batch * steps).clip(max=len(frames) - 1)
    return frames[index].reshape(batch, steps, *frames.shape[1:])


def camera_path(stops_degrees: Sequence[float], frames: int) -> NDArray[np.float32]:
    """An angle per frame, `[frames]`, that passes the stops at an even speed."""
    if len(stops_degrees) == 1:
        return np.full(frames, stops_degrees[0], np.float32)
    step = float(np.abs(np.diff(stops_degrees)).sum()) / (frames - 1)
    path = [
        np.arange(start, end, np.copysign(step, end - start))
        for start, end in pairwise(stops_degrees)
        if start != end
    ]
    angles = np.concatenate(path) if path else np.array(stops_degrees[:1], np.float64)
    return angles[np.arange(frames).clip(max=len(angles) - 1)].astype(np.float32)
