"""Fades between the resting face and the images of a network, so that silence causes no cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.models.base import FeatureWindows

FADE_S: Final = 0.12
"""Duration of a fade.

The mouth is shut meanwhile: a window becomes silent only some time after sound, and not just before
it.
"""

FIRST_FRAME_SHARE: Final = 0.4
"""Share of a first patch: about one frame's part of `FADE_S`."""

MAX_OWN_GAP_S: Final = 0.25
"""Gap after which the last patch is stale: other models generated frames meanwhile."""


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """The last patch of a network; between chunks it is the adapter's state."""

    idle_s: float
    """Media time of the last frame that showed it, seconds since the session began."""
    share: float
    """Its share in that frame, more than 0 and up to 1."""
    patch: NDArray[np.uint8]
    """`[height, width, 3]`, RGB."""


def faded(
    windows: FeatureWindows, patches: NDArray[np.uint8], before: Painted | None
) -> list[Painted | None]:
    """Patch over each frame, None where the face rests.

    Any chunking of the same windows gives the same result. `patches` `[m, height, width, 3]` belong
    to the windows that are not silent, in their order. `before` is the last element of the previous
    call's result.
    """
    layers: list[Painted | None] = []
    fresh = iter(patches)
    for idle_s, silent in zip(windows.idle_s.tolist(), windows.silent.tolist(), strict=True):
        if before is not None and not 0.0 <= idle_s - before.idle_s <= MAX_OWN_GAP_S:
            before = None
        step = FIRST_FRAME_SHARE if before is None else (idle_s - before.idle_s) / FADE_S
        shown = 0.0 if before is None else before.share
        share = max(0.0, shown - step) if silent else min(1.0, shown + step)
        patch = (before.patch if before is not None else None) if silent else next(fresh)
        before = Painted(idle_s, share, patch) if patch is not None and share > 0.0 else None
        layers.append(before)
    return layers
