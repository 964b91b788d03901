"""A picture between two others along the motion between them, where a blend would show both mouths
at once.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage

STILL: Final = 0.05
"""Mean grey levels of difference under which there is no motion to find."""

TRUST_WINDOW: Final = (13, 13)
"""Pixels over which the success of the motion is judged."""


def interpolate(before: RgbImage, after: RgbImage, factor: float) -> RgbImage:
    """The picture `factor` (0..1) of the way from `before` to `after`, both `[h, w, 3]`.

    Dense inverse search flow both ways (T. Kroeger et al., 2016; OpenCV), brought to the moment in
    between as in H. Jiang et al., "Super SloMo", 2018, equation 4; both pictures are warped there
    and mixed. ValueError for pictures of two sizes.
    """
    if before.shape != after.shape:
        raise ValueError(
            f"pictures of {before.shape} and {after.shape} have nothing between them; give two of "
            "one size"
        )
    if not 0.0 <= factor <= 1.0:
        raise ValueError(f"factor {factor} is not between 0 and 1")
    grey_before, grey_after = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    if factor in (0.0, 1.0) or cv2.absdiff(grey_before, grey_after).mean() < STILL:
        return before if factor < 0.5 else after
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    forward = finder.calc(grey_before, grey_after, None)  # type: ignore[call-overload]
    backward = finder.calc(grey_after, grey_before, None)  # type: ignore[call-overload]
    t = factor
    from_before = _warped(before, -(1.0 - t) * t * forward + t * t * backward)
    from_after = _warped(after, (1.0 - t) ** 2 * forward - t * (1.0 - t) * backward)
    moved = cv2.addWeighted(from_before, 1.0 - t, from_after, t, 0.0)
    trust = _trust(cv2.absdiff(from_before, from_after), cv2.absdiff(before, after))
    return np.asarray(
        cv2.blendLinear(moved, cv2.addWeighted(before, 1.0 - t, after, t, 0.0), trust, 1.0 - trust),
        np.uint8,
    )


def _trust(left: NDArray[Any], found: NDArray[Any]) -> NDArray[np.float32]:
    """How much of the motion to believe `[h, w]`: where the moved pictures differ as much as the
    unmoved ones, half.

    Lips that open show teeth that were not there before; no motion leads to them.
    """
    remaining, difference = (
        cv2.blur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), TRUST_WINDOW)
        for image in (left, found)
    )
    trust: NDArray[np.float32] = difference / (remaining + difference + np.float32(1e-3))
    return trust


def _warped(image: RgbImage, flow: NDArray[Any]) -> NDArray[Any]:
    """`image` sampled at each pixel plus its flow `[h, w, 2]`."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(
        image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved)
