"""Frame interpolation along the motion between two pictures.

A blend would show both mouths at once.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage

MIN_MOTION_LEVELS: Final = 0.05
"""Mean difference in grey levels under which there is no motion to find."""

TRUST_WINDOW_PX: Final = (13, 13)
"""Window in pixels over which the match of the motion is averaged."""


def interpolate(before: RgbImage, after: RgbImage, factor: float) -> RgbImage:
    """Interpolate at `factor` (0..1) of the way from `before` to `after`, both `[h, w, 3]`.

    Dense inverse search flow both ways (T. Kroeger et al., 2016; OpenCV). It is scaled to the
    moment in between as in H. Jiang et al., "Super SloMo", 2018, equation 4. Both pictures are
    warped there and mixed. Raises ValueError for pictures of different sizes, or a factor outside
    0..1.
    """
    if before.shape != after.shape:
        raise ValueError(
            f"cannot interpolate between pictures of {before.shape} and {after.shape}: use two of "
            "one size"
        )
    if not 0.0 <= factor <= 1.0:
        raise ValueError(f"factor {factor} is not between 0 and 1")
    grey_before, grey_after = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    if factor in (0.0, 1.0) or cv2.absdiff(grey_before, grey_after).mean() < MIN_MOTION_LEVELS:
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
    """Weight `[h, w]` of the motion: 0.5 where warping did not reduce the difference.

    Lips that open show teeth that were hidden before, and no motion leads to them.
    """
    remaining, difference = (
        cv2.blur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), TRUST_WINDOW_PX)
        for image in (left, found)
    )
    trust: NDArray[np.float32] = difference / (remaining + difference + np.float32(1e-3))
    return trust


def _warped(image: RgbImage, flow: NDArray[Any]) -> NDArray[Any]:
    """Sample `image` at each pixel plus its flow `[h, w, 2]`."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(
        image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved)
