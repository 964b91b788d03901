"""Lids for one eye: a skin-coloured sheet with lashes at its edge that slides down over the photo's eye."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.rendering.landmarks import (
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    Points,
    frame_between,
    pick,
)
from orchestrator.rendering.mouth_shape import curve

HEIGHT_CODE: Final = 100.0
"""Steps of a coded height per half eye width; 128 is zero."""

LID_CHANNELS: Final = 7
"""Red, green, blue, height below the upper lid's edge, eye height, cover, lash darkness."""


@dataclass(frozen=True, slots=True, eq=False)
class Lid:
    """`box` is x, y, width, height in pixels of the photo; `maps` is `[h, w, LID_CHANNELS]`."""

    box: tuple[int, int, int, int]
    maps: NDArray[np.uint8]


def lids(landmarks: Points, photo: NDArray[np.uint8]) -> tuple[Lid, Lid]:
    """The lids of the eyes at the picture's left and right; landmarks in pixels of `photo` `[k, k, 3]`."""
    return (
        _lid(pick(landmarks, RIGHT_EYE_UPPER), pick(landmarks, RIGHT_EYE_LOWER), photo, inner_side=1.0),
        _lid(pick(landmarks, LEFT_EYE_UPPER), pick(landmarks, LEFT_EYE_LOWER), photo, inner_side=-1.0),
    )


def _lid(upper: Points, lower: Points, photo: NDArray[np.uint8], inner_side: float) -> Lid:
    frame = frame_between(upper[0], upper[-1])
    box = _box(frame.to_pixels(np.array([[-1.5, -1.0], [1.5, -1.0], [-1.5, 1.1], [1.5, 1.1]])), photo.shape[0])
    x0, y0, width, height = box
    rows, columns = np.mgrid[y0 : y0 + height, x0 : x0 + width]
    local = frame.to_local(np.stack([columns, rows], axis=-1).astype(np.float64))
    x, y = local[..., 0], local[..., 1]
    top, bottom = curve(frame.to_local(upper))(x), curve(frame.to_local(lower))(x)
    under, eye_height = y - top, np.maximum(bottom - top, 0.0)
    cover = _ramp((1.06 - np.abs(x)) / 0.14)
    lash = _ramp((1.04 - np.abs(x)) / 0.3) * (0.75 - 0.25 * inner_side * x)
    skin = _skin(photo[y0 : y0 + height, x0 : x0 + width], under, y - bottom, frame.unit)
    coded = [under * HEIGHT_CODE + 128.0, eye_height * HEIGHT_CODE, cover * 255.0, lash * 255.0]
    return Lid(box, np.dstack([skin, *(np.clip(np.rint(c), 0, 255).astype(np.uint8) for c in coded)]))


def _skin(photo: NDArray[np.uint8], under_top: NDArray[np.float64], under_bottom: NDArray[np.float64], unit: float) -> NDArray[np.uint8]:
    """Lid skin: what surrounds the eye, without lashes, brow and eye, smoothed over the opening."""
    above, below = (under_top < -0.25) & (under_top > -0.52), (under_bottom > 0.3) & (under_bottom < 0.7)
    luma = photo @ np.array([0.299, 0.587, 0.114])
    surround = above | below
    lit = luma > np.percentile(luma[surround], 25) if surround.any() else surround
    mask = (surround & lit) * np.where(above, np.float32(2.0), np.float32(1.0)) + np.float32(1e-4)
    sigma = max(0.5 * unit, 1.0)
    total = cv2.GaussianBlur(photo.astype(np.float32) * mask[..., None], (0, 0), sigma)
    weight = cv2.GaussianBlur(mask, (0, 0), sigma)
    skin: NDArray[np.uint8] = np.clip(np.rint(total / weight[..., None] * 0.96), 0, 255).astype(np.uint8)
    return skin


def lash_color(photo: NDArray[np.uint8], landmarks: Points) -> NDArray[np.uint8]:
    """The darkest tone along the upper lids `[3]`."""
    points = np.rint(np.vstack([pick(landmarks, RIGHT_EYE_UPPER), pick(landmarks, LEFT_EYE_UPPER)])).astype(int)
    points = np.clip(points, 0, photo.shape[0] - 1)
    colors = photo[points[:, 1], points[:, 0]]
    order = np.argsort(colors.sum(axis=1, dtype=np.int64))
    dark: NDArray[np.uint8] = (colors[order[: len(order) // 3]].mean(axis=0) * 0.8).astype(np.uint8)
    return dark


def _box(corners: Points, side: int) -> tuple[int, int, int, int]:
    low = np.clip(np.floor(corners.min(axis=0)), 0, side - 5).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)), low + 4, side).astype(int)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _ramp(value: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(value, 0.0, 1.0)
    smooth: NDArray[np.float64] = clipped * clipped * (3.0 - 2.0 * clipped)
    return smooth
