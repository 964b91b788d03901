"""Sampling of images at displaced positions, and the grids that interpolate positions."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]


def sample(image: NDArray[Any], where: NDArray[Any]) -> NDArray[Any]:
    """`image` at the positions `where` `[h, w, 2]`."""
    return cv2.remap(image, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload,no-any-return]


def sample_into(image: NDArray[Any], where: NDArray[Any], out: NDArray[Any]) -> None:
    """`sample` into `out`, which has the size of `where` and the channels of `image`."""
    cv2.remap(image, where, None, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


def ringed(grid: Field) -> Field:
    """Node values `[..., h, w, channels]` with their border repeated once around them.

    `dense` needs a node beyond each border.
    """
    around = [(0, 0)] * (grid.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
    ring: Field = np.pad(grid, around, mode="edge")
    return ring


def ring_nodes(width: int, height: int) -> Field:
    """Column and row `[height + 2, width + 2, 2]` of each node of a ringed grid.

    Counted from the ring's corner.
    """
    rows, columns = np.mgrid[0 : height + 2, 0 : width + 2]
    return np.asarray(np.stack([columns, rows], axis=-1), dtype=np.float32)


def dense(grid: Field, pitch: int) -> Field:
    """A ringed grid `[h + 2, w + 2, 2]` for each pixel `[h * pitch, w * pitch, 2]`.

    Nodes lie in the middle of `pitch` x `pitch` pixels.
    """
    height, width = grid.shape[:2]
    pixels: Any = cv2.resize(grid, (width * pitch, height * pitch), interpolation=cv2.INTER_LINEAR)
    inner: Field = pixels[pitch:-pitch, pitch:-pitch]
    return inner
