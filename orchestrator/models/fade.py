"""Lets what a network painted grow out of the resting face and go back into it, so that no silence
cuts the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.models.base import FeatureWindows

FADE_S: Final = 0.12
"""From nothing to all of it. The mouth is shut meanwhile: a window is silent only some time after
sound, and not just before it.
"""

FIRST_SHARE: Final = 0.4
"""Of a first patch: about one frame's part of `FADE_S`."""

GAP_S: Final = 0.25
"""After a longer pause between two of our frames other models have drawn, and the last patch is out
of date.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """What a network painted last; between chunks it is the adapter's state."""

    idle_s: float
    """Media time of the frame it was last shown in, seconds since the session began."""
    share: float
    """How much of it showed there, more than 0 and up to 1."""
    patch: NDArray[np.uint8]
    """`[height, width, 3]`, RGB."""


def faded(
    windows: FeatureWindows, patches: NDArray[np.uint8], before: Painted | None
) -> list[Painted | None]:
    """What to lay over each frame, None where the face rests; any chunking of the same windows
    gives the same.

    `patches [m, height, width, 3]` belong to the windows that are not silent, in their order.
    `before` is the last element of the previous call's answer.
    """
    layers: list[Painted | None] = []
    fresh = iter(patches)
    for idle_s, silent in zip(windows.idle_s.tolist(), windows.silent.tolist(), strict=True):
        if before is not None and not 0.0 <= idle_s - before.idle_s <= GAP_S:
            before = None
        step = FIRST_SHARE if before is None else (idle_s - before.idle_s) / FADE_S
        shown = 0.0 if before is None else before.share
        share = max(0.0, shown - step) if silent else min(1.0, shown + step)
        patch = (before.patch if before is not None else None) if silent else next(fresh)
        before = Painted(idle_s, share, patch) if patch is not None and share > 0.0 else None
        layers.append(before)
    return layers
