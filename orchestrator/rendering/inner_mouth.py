"""Layers between the lips: throat, tongue and lower teeth on the jaw, upper teeth on the skull.

Where the photo smiles its own teeth are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.rendering.landmarks import Points
from orchestrator.rendering.mouth_shape import MouthShape, curve

UPPER_TOOTH_EDGES: Final = (0.0, 0.29, 0.52, 0.72, 0.87, 0.98)
LOWER_TOOTH_EDGES: Final = (0.0, 0.18, 0.36, 0.56, 0.73, 0.86)
"""Edges between teeth from the middle outwards, in neutral half mouth widths, seen frontally."""

UPPER_TEETH_BELOW_SEAM: Final = 0.09
"""The upper incisors' edge under the resting lip line; 2-3 mm in adults."""

LOWER_TEETH_BELOW_SEAM: Final = 0.105

TEETH: Final = np.array([236.0, 228.0, 216.0])
GUM: Final = np.array([176.0, 92.0, 92.0])
TONGUE: Final = np.array([186.0, 92.0, 90.0])
THROAT: Final = np.array([58.0, 20.0, 22.0])
FLOOR: Final = np.array([96.0, 38.0, 38.0])


@dataclass(frozen=True, slots=True, eq=False)
class InnerMouth:
    """Three images of the same size; the last two carry cover in the fourth channel."""

    cavity: NDArray[np.uint8]
    upper_teeth: NDArray[np.uint8]
    lower_jaw: NDArray[np.uint8]


def inner_mouth(
    shape: MouthShape, local: Points, photo: NDArray[np.uint8], light: NDArray[np.float64]
) -> InnerMouth:
    """Draw the layers for pixels at mouth coordinates `local` `[h, w, 2]`.

    `photo` `[h, w, 3]` holds the photo's pixels there. `light` `[3]` is that on the face, about 1
    for a well lit one.
    """
    x = local[..., 0] / shape.scale
    y = (local[..., 1] - shape.seam[5, 1]) / shape.scale
    softness = 1.2 / (shape.frame.unit * shape.scale)
    cavity = _bytes(_cavity(x, y) * light)
    white = _whiteness(photo) * _between_lips(shape, local, 1e-3)
    # a photographed throat would hide the drawn one
    if shape.shut or white.sum() < 0.5 * _between_lips(shape, local, 1e-3).sum():
        teeth = TEETH * light
        return InnerMouth(
            cavity,
            _upper_teeth(x, y, softness, teeth, light),
            _lower_jaw(x, y, softness, teeth, light),
        )
    teeth = (photo * white[..., None]).sum(axis=(0, 1)) / white.sum()
    return InnerMouth(
        cavity,
        _photo_teeth(shape, local, photo, softness),
        _lower_jaw(x, y, softness, teeth, light),
    )


def _cavity(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    depth = np.clip((y - 0.15) / 0.8, 0.0, 1.0)[..., None]
    sides = 1.0 - 0.35 * np.clip(np.abs(x), 0.0, 1.0)[..., None] ** 2
    cavity: NDArray[np.float64] = (THROAT + (FLOOR - THROAT) * depth) * sides
    return cavity


def _upper_teeth(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    softness: float,
    teeth: NDArray[np.float64],
    light: NDArray[np.float64],
) -> NDArray[np.uint8]:
    within, ridge = _teeth_row(x, UPPER_TOOTH_EDGES)
    edge = UPPER_TEETH_BELOW_SEAM - 0.07 * x * x - 0.022 * np.abs(2.0 * within - 1.0) ** 4
    cover = _step((edge - y) / softness) * _step((0.88 - np.abs(x)) / 0.16)
    gum = _step((-0.26 - 0.05 * np.cos(within * np.pi * 2.0) - y) / (2.0 * softness))
    tone = (1.0 - 0.45 * np.clip(np.abs(x), 0.0, 1.0) ** 1.8) * (1.0 - 0.13 * ridge)
    return _layer(teeth, GUM * light, gum, tone, cover)


def _lower_jaw(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    softness: float,
    teeth: NDArray[np.float64],
    light: NDArray[np.float64],
) -> NDArray[np.uint8]:
    within, ridge = _teeth_row(x, LOWER_TOOTH_EDGES)
    edge = LOWER_TEETH_BELOW_SEAM + 0.05 * x * x + 0.016 * np.abs(2.0 * within - 1.0) ** 4
    cover = _step((y - edge) / softness) * _step((0.78 - np.abs(x)) / 0.14)
    gum = _step((y - edge - 0.30) / (2.0 * softness))
    tone = 0.80 * (1.0 - 0.5 * np.clip(np.abs(x), 0.0, 1.0) ** 1.6) * (1.0 - 0.18 * ridge)
    row = _layer(teeth, GUM * light * 0.8, gum, tone, cover)
    return _over(row, _tongue(x, y, light))


def _tongue(
    x: NDArray[np.float64], y: NDArray[np.float64], light: NDArray[np.float64]
) -> NDArray[np.uint8]:
    top = -0.05 + 0.30 * (np.abs(x) / 0.66) ** 2.4
    cover = _step((y - top) / 0.16) * _step((0.70 - np.abs(x)) / 0.12)
    groove = 1.0 - 0.14 * np.exp(-((x / 0.07) ** 2))
    tone = (
        (0.62 + 0.38 * np.clip((y - top) / 0.28, 0.0, 1.0))
        * groove
        * (1.0 - 0.25 * np.clip(np.abs(x) / 0.66, 0.0, 1.0) ** 2)
    )
    return _layer(TONGUE * light, TONGUE * light, np.zeros_like(x), tone, cover)


def _photo_teeth(
    shape: MouthShape, local: Points, photo: NDArray[np.uint8], softness: float
) -> NDArray[np.uint8]:
    """The photo's pixels between its lips, cut off where the lower lip begins."""
    return np.dstack(
        [photo, _bytes(_between_lips(shape, local, 1.6 * softness * shape.scale) * 255.0)]
    )


def _between_lips(shape: MouthShape, local: Points, soft: float) -> NDArray[np.float64]:
    x, y = local[..., 0], local[..., 1]
    under = _step((y - curve(shape.upper_inner)(x)) / soft + 2.0)
    over = _step((curve(shape.lower_inner)(x) - y) / soft - 1.0)
    left, right = shape.upper_inner[0, 0], shape.upper_inner[-1, 0]
    between: NDArray[np.float64] = (
        under * over * _step((x - left) / (3 * soft)) * _step((right - x) / (3 * soft))
    )
    return between


def _whiteness(photo: NDArray[np.uint8]) -> NDArray[np.float64]:
    """1 for the grey-white of teeth, 0 for lips, gums, tongue and the dark."""
    red, green = photo[..., 0].astype(np.float64), photo[..., 1].astype(np.float64)
    pale = _step((0.24 - (red - green) / np.maximum(red, 1.0)) / 0.14)
    bright = _step((green - 0.42 * np.percentile(green, 90)) / 30.0)
    return pale * bright


def _teeth_row(
    x: NDArray[np.float64], edges: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position 0..1 within the tooth at `x`, and closeness to the gap between two teeth."""
    reach = np.clip(np.abs(x), 0.0, edges[-1] - 1e-6)
    number = np.searchsorted(np.asarray(edges), reach, side="right") - 1
    low, high = np.asarray(edges)[number], np.asarray(edges)[number + 1]
    within = (reach - low) / (high - low)
    nearest = np.minimum(reach - low, high - reach)
    return within, np.exp(-((nearest / 0.025) ** 2))


def _layer(
    color: NDArray[np.float64],
    second: NDArray[np.float64],
    share: NDArray[np.float64],
    tone: NDArray[np.float64],
    cover: NDArray[np.float64],
) -> NDArray[np.uint8]:
    mixed = (color + (second - color) * share[..., None]) * tone[..., None]
    return np.dstack([_bytes(mixed), _bytes(cover * 255.0)])


def _over(front: NDArray[np.uint8], back: NDArray[np.uint8]) -> NDArray[np.uint8]:
    front_cover, back_cover = front[..., 3:] / 255.0, back[..., 3:] / 255.0
    cover = front_cover + back_cover * (1.0 - front_cover)
    color = front[..., :3] * front_cover + back[..., :3] * back_cover * (1.0 - front_cover)
    return np.dstack([_bytes(color / np.maximum(cover, 1e-6)), _bytes(cover * 255.0)])


def _step(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    ramp = np.clip(distance + 0.5, 0.0, 1.0)
    smooth: NDArray[np.float64] = ramp * ramp * (3.0 - 2.0 * ramp)
    return smooth


def _bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0.0, 255.0).astype(np.uint8)
