"""Mouths at the centres of video frames, from the audio network's output every 10 ms.

The last step before drawing. It lies beside the renderer, so that a server that has both networks
can turn audio into images in one request.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.rendering.motion import CLOSED, OPEN, aperture

SMOOTHING_STEPS: Final = 2.5
CLOSURE_REACH_STEPS: Final = 1.0
CONTACT_THRESHOLD: Final = 0.08
"""Gap and closure below which both count as none.

The network hedges: at a short closure it predicts a small gap, elsewhere a small closure. With the
three values closures visible in decoded video rise from 0.70 to 0.92 of all, at no loss of
correlation (`python -m benchmarks.lip_sync_accuracy`, held-out voices).
"""

RESTING_CENTRE: Final = -100.0
"""A centre that lies beyond all steps: the mouth rests."""


def mouths_at(centres: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mouth parameters `[n, 7]` at `centres` `[n]`.

    Centres are counted in steps of 10 ms from the first one of `steps` `[n, s, 7]`.

    A triangle of +-25 ms around the centre smooths the steps. `closed` keeps its maximum over +-10
    ms instead, so that a short closure is not smoothed away, and gaps that are nearly none become
    none.
    """
    distance = np.abs(np.arange(steps.shape[1], dtype=np.float32) - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distance / SMOOTHING_STEPS)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
    mouth: NDArray[np.float32] = (weights[:, None] @ steps)[:, 0]
    nearest = np.where(distance <= CLOSURE_REACH_STEPS, steps[:, :, CLOSED], 0.0).max(axis=1)
    mouth[:, CLOSED] = (nearest - CONTACT_THRESHOLD) / (1.0 - CONTACT_THRESHOLD)
    mouth = np.clip(mouth, 0.0, 1.0)
    gap = np.maximum(0.0, (aperture(mouth) - CONTACT_THRESHOLD) / (1.0 - CONTACT_THRESHOLD))
    mouth[:, OPEN] = gap / np.maximum(1.0 - mouth[:, CLOSED], CONTACT_THRESHOLD)
    return np.clip(mouth, 0.0, 1.0)


def spoken_motion(steps: NDArray[np.float32], moments: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of motion `[n * k, 11]` for `k` video frames of each of `n` windows.

    `steps` `[n, s, 7]` is the audio network's output for the windows. `moments` `[n, k, 5]` holds
    the frame's centre in steps, then the motion without the voice (blink, sway_x, sway_y, roll).
    """
    frames = moments.reshape(-1, moments.shape[2])
    mouths = mouths_at(frames[:, 0], np.repeat(steps, moments.shape[1], axis=0))
    return np.concatenate([mouths, frames[:, 1:]], axis=1)
