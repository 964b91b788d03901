"""Sampling of pictures at displaced positions, which the whole head and the mouth share."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]


def sample(image: NDArray[Any], where: NDArray[Any]) -> NDArray[Any]:
    """`image` at the positions `where` `[h, w, 2]`."""
    return cv2.remap(image, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload,no-any-return]


def identity(width: int, height: int, left: float, top: float) -> Field:
    """Image position of each pixel of a frame's part, whose own corner lies at `left`, `top` image pixels."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.asarray(np.stack([(columns + 0.5) * 1.5 - 0.5 + left, (rows + 0.5) * 1.5 - 0.5 + top], axis=-1), dtype=np.float32)
