"""Lids of one eye: a skin-coloured sheet with lashes that slides down over the photo's eye."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
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

LID_TONE: Final = np.array([0.97, 0.94, 0.93])
"""Tint of the lids: a little darker and redder than the skin around them."""


@dataclass(frozen=True, slots=True, eq=False)
class Lid:
    """Lid at `box`, x, y, width, height in pixels of the photo; `maps` `[h, w, LID_CHANNELS]`."""

    box: tuple[int, int, int, int]
    maps: NDArray[np.uint8]


def lids(landmarks: Points, photo: NDArray[np.uint8]) -> tuple[Lid, Lid]:
    """The lids of the eyes at the image's left and right.

    Landmarks are in pixels of `photo` `[k, k, 3]`.
    """
    return (
        _lid(
            pick(landmarks, RIGHT_EYE_UPPER),
            pick(landmarks, RIGHT_EYE_LOWER),
            photo,
            inner_side=1.0,
        ),
        _lid(
            pick(landmarks, LEFT_EYE_UPPER), pick(landmarks, LEFT_EYE_LOWER), photo, inner_side=-1.0
        ),
    )


class LidPainter:
    """One eye's lid, drawn into the photo before it is warped."""

    def __init__(
        self, maps: NDArray[np.uint8], box: NDArray[np.int32], lash: NDArray[np.uint8]
    ) -> None:
        x, y, width, height = (int(v) for v in box)
        self._window = np.s_[y : y + height, x : x + width]
        self._skin = maps[..., :3].astype(np.float32)
        self._under = (maps[..., 3].astype(np.float32) - 128.0) / HEIGHT_CODE
        self._height = maps[..., 4].astype(np.float32) / HEIGHT_CODE
        self._inverse_height = 1.0 / np.maximum(self._height, np.float32(0.05))
        self._cover = (
            np.clip((self._under + 0.50) / 0.24, 0.0, 1.0) * maps[..., 5] / np.float32(255.0)
        )
        self._crease = np.float32(0.10) * np.exp(-np.square((self._under + 0.10) / 0.07))
        self._lash = maps[..., 6].astype(np.float32) / 255.0
        self._lash_color = np.broadcast_to(lash.astype(np.float32), self._skin.shape).copy()
        self._sharpness = max(width / 3.0, 1.0) / 1.5

    def draw(self, image: RgbImage, blink: float) -> None:
        """Close the lid by `blink` in `image`."""
        edge = self._height * np.float32(1.02 * blink) - self._under
        cover = (
            np.clip(edge * np.float32(self._sharpness) + np.float32(0.5), 0.0, 1.0) * self._cover
        )
        cover *= np.float32(min(1.0, 3.0 * blink))
        lash = (
            np.clip(1.25 - np.abs(edge - np.float32(0.03)) / np.float32(0.075), 0.0, 1.0)
            * self._lash
        )
        dark = (
            np.float32(0.07) * np.clip(1.0 - edge * self._inverse_height, 0.0, 1.0)
            + np.float32(blink) * self._crease
        )
        shade = 1.0 - dark * (1.0 - lash)
        color = cv2.multiply(
            cv2.blendLinear(self._skin, self._lash_color, 1.0 - lash, lash),
            cv2.merge([shade, shade, shade]),
        )
        window = image[self._window]
        window[...] = cv2.blendLinear(
            color.astype(np.uint8), np.ascontiguousarray(window), cover, 1.0 - cover
        )


def _lid(upper: Points, lower: Points, photo: NDArray[np.uint8], inner_side: float) -> Lid:
    frame = frame_between(upper[0], upper[-1])
    box = _box(
        frame.to_pixels(np.array([[-1.5, -1.0], [1.5, -1.0], [-1.5, 1.1], [1.5, 1.1]])),
        photo.shape[0],
    )
    x0, y0, width, height = box
    rows, columns = np.mgrid[y0 : y0 + height, x0 : x0 + width]
    local = frame.to_local(np.stack([columns, rows], axis=-1).astype(np.float64))
    x, y = local[..., 0], local[..., 1]
    top, bottom = curve(frame.to_local(upper))(x), curve(frame.to_local(lower))(x)
    under, eye_height = y - top, np.maximum(bottom - top, 0.0)
    cover = _ramp((1.06 - np.abs(x)) / 0.14)
    lash = _ramp((1.04 - np.abs(x)) / 0.3) * (0.75 - 0.25 * inner_side * x)
    skin = _skin(photo[y0 : y0 + height, x0 : x0 + width], under, y - bottom, frame.unit)
    skin *= LID_TONE * (1.0 - 0.10 * np.minimum(x * x, 1.0))[..., None]
    coded = [under * HEIGHT_CODE + 128.0, eye_height * HEIGHT_CODE, cover * 255.0, lash * 255.0]
    return Lid(
        box,
        np.dstack(
            [
                np.clip(np.rint(channel), 0, 255).astype(np.uint8)
                for channel in (*np.moveaxis(skin, -1, 0), *coded)
            ]
        ),
    )


def _skin(
    photo: NDArray[np.uint8],
    under_top: NDArray[np.float64],
    under_bottom: NDArray[np.float64],
    unit: float,
) -> NDArray[np.float64]:
    """Skin of the lid: the surroundings of the eye, smoothed over the opening.

    Lashes, brow and eye are left out.
    """
    above, below = (
        (under_top < -0.25) & (under_top > -0.52),
        (under_bottom > 0.3) & (under_bottom < 0.7),
    )
    luma = photo @ np.array([0.299, 0.587, 0.114])
    surround = above | below
    lit = luma > np.percentile(luma[surround], 25) if surround.any() else surround
    mask = (surround & lit) * np.where(above, np.float32(2.0), np.float32(1.0)) + np.float32(1e-4)
    sigma = max(0.5 * unit, 1.0)
    total = cv2.GaussianBlur(photo.astype(np.float32) * mask[..., None], (0, 0), sigma)
    weight = cv2.GaussianBlur(mask, (0, 0), sigma)
    return np.asarray(total / weight[..., None], dtype=np.float64)


def lash_color(photo: NDArray[np.uint8], landmarks: Points) -> NDArray[np.uint8]:
    """The darkest tone along the upper lids `[3]`."""
    points = np.rint(
        np.vstack([pick(landmarks, RIGHT_EYE_UPPER), pick(landmarks, LEFT_EYE_UPPER)])
    ).astype(int)
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
