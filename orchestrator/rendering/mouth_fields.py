"""Displacement maps of the mouth parameters: one thin-plate spline each, in mouth coordinates.

All fields are *backward*: they say where in the photo a pixel of the frame comes from, relative to itself. A control
point that moves by d is therefore given the value -d wherever it may be found, which makes sums of fields exact along its way.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.rendering.landmarks import Points
from orchestrator.rendering.mouth_shape import MouthShape, inner_corners, opening_profile
from orchestrator.rendering.spline import thin_plate

COMMON_FIELDS: Final = ("wide", "round")
"""Fields that move both layers alike."""

LAYER_FIELDS: Final = ("rest", "gap", "jaw", "tuck", "press")
"""Fields of the two layers; `rest` closes the photo's mouth and always has weight one."""

GAP: Final = 0.92
"""How far the lips part at full opening, in neutral half mouth widths; a wide "aa" is about half as high as the mouth is wide."""

UPPER_SHARE: Final = 0.14
"""Part of the gap that the upper lip makes; the jaw does the rest."""

CHIN_DROP_GAP: Final = 0.30
CHIN_DROP_JAW: Final = 0.42
CORNER_DROP: Final = 0.14
ROUND_SHRINK: Final = 0.34
ROUND_SHRINK_SMILE: Final = 0.16
"""Share of its width that the mouth loses when fully rounded; a smile has more to lose."""

WIDEN: Final = 0.13

_UP: Final = np.array([0.0, -1.0])
_DOWN: Final = np.array([0.0, 1.0])


def round_shrink(shape: MouthShape) -> float:
    """Share of the mouth's width lost at full rounding."""
    return ROUND_SHRINK + ROUND_SHRINK_SMILE * shape.smile


def common_fields(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """`[fields, n, 2]` displacements of COMMON_FIELDS at `at` `[n, 2]`, mouth coordinates."""
    lips = np.vstack([shape.upper_outer, shape.lower_outer, shape.seam])
    below = np.vstack([lips + _DOWN * GAP * shape.scale * opening_profile(lips[:, 0], shape)[:, None] * t for t in (0.5, 1.0)])
    moved = np.vstack([lips, below])
    anchors = _anchors(shape)
    fields = [
        _field(at, np.vstack([moved + d, anchors]), np.vstack([-d, np.zeros_like(anchors)]))
        for d in (_widening(shape, moved), _rounding(shape, moved))
    ]
    return np.stack(fields)


def layer_fields(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """`[fields, n, 4]` displacements of LAYER_FIELDS at `at` `[n, 2]`: x and y of the upper layer, then of the lower."""
    upper, lower = _upper_fields(shape, at), _lower_fields(shape, at)
    split = _split(shape, at)[:, None, None]
    upper = lower + (upper - lower) * split
    return np.concatenate([upper, lower], axis=2).transpose(1, 0, 2)


def _widening(shape: MouthShape, points: Points) -> Points:
    reach = np.clip(np.abs(points[:, 0]), 0.0, 1.0)
    return np.stack([np.sign(points[:, 0]) * WIDEN * reach**1.5, -0.05 * reach**3], axis=1)


def _rounding(shape: MouthShape, points: Points) -> Points:
    """Towards the middle, corners to the height of the lips' middle, both lips a little fuller."""
    middle = float(shape.seam[5, 1])
    reach = np.clip(np.abs(points[:, 0]), 0.0, 1.0)
    level = 0.7 * (middle - shape.seam[[0, -1], 1].mean()) * reach**2
    fuller = 0.10 * np.clip((points[:, 1] - middle) / 0.3, -1.0, 1.0) * (1.0 - reach**2)
    return np.stack([-round_shrink(shape) * points[:, 0], level + fuller], axis=1)


def _anchors(shape: MouthShape) -> Points:
    """Points that stay, all around the mouth: nose, eyes, sides, chin and a ring below it."""
    return np.vstack([shape.still, shape.chin, _below_chin(shape, 0.5)])


def _below_chin(shape: MouthShape, distance: float) -> Points:
    return shape.chin + np.array([0.0, distance + CHIN_DROP_JAW + CHIN_DROP_GAP * GAP])


def _upper_fields(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """`[n, fields, 2]` for the upper lip and the cheeks."""
    lip, outer = shape.seam, shape.upper_outer
    profile, profile_outer = opening_profile(lip[:, 0], shape), opening_profile(outer[:, 0], shape)
    lift = GAP * UPPER_SHARE * shape.scale * profile
    controls = [lip, lip + _UP * lift[:, None], outer, shape.still, shape.cheeks, shape.chin]
    rest = shape.upper_inner - shape.seam
    zeros = [np.zeros((len(c), 2)) for c in controls[3:]]
    corner, corner_outer = 1.0 - profile, 1.0 - profile_outer
    values = {
        "rest": [rest, rest, 0.8 * rest, *zeros],
        "gap": [_DOWN * lift[:, None]] * 2 + [0.9 * _DOWN * GAP * UPPER_SHARE * shape.scale * profile_outer[:, None], *zeros],
        "jaw": [_UP * _corner_drop(shape, corner)] * 2 + [_UP * _corner_drop(shape, corner_outer), zeros[0], _cheek_drop(shape), zeros[2]],
        "tuck": [0.05 * shape.scale * _DOWN * profile[:, None]] * 2 + [0.04 * shape.scale * _DOWN * profile_outer[:, None], *zeros],
        "press": [np.zeros_like(lip)] * 2 + [0.035 * shape.scale * _UP * profile_outer[:, None], *zeros],
    }
    return _solve(at, controls, values)


def _lower_fields(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """`[n, fields, 2]` for the lower lip, the jaw and the chin."""
    lip, outer, chin = shape.seam, shape.lower_outer, shape.chin
    profile, profile_outer = opening_profile(lip[:, 0], shape), opening_profile(outer[:, 0], shape)
    drop = GAP * (1.0 - UPPER_SHARE) * shape.scale
    chin_profile = _chin_profile(shape)
    chin_travel = _DOWN * ((CHIN_DROP_GAP * GAP + CHIN_DROP_JAW) * shape.scale * chin_profile)[:, None]
    below = _below_chin(shape, 0.45)
    ways = [lip + _DOWN * (drop * profile * t)[:, None] for t in (0.0, 0.5, 1.0)]
    controls = [*ways, outer, chin, chin + chin_travel, below, shape.still, shape.cheeks]
    still = [np.zeros((len(c), 2)) for c in controls[6:8]]
    rest = shape.lower_inner - shape.seam
    gap_chin = _UP * (CHIN_DROP_GAP * GAP * shape.scale * chin_profile)[:, None]
    jaw_chin = _UP * (CHIN_DROP_JAW * shape.scale * chin_profile)[:, None]
    corner = _UP * _corner_drop(shape, 1.0 - profile)
    none = np.zeros_like(outer)
    cheeks = np.zeros_like(shape.cheeks)
    thin = 0.08 * shape.scale * profile[:, None]
    values = {
        "rest": [rest, rest, rest, 0.85 * rest, *[_UP * -0.12 * rest[5, 1] * chin_profile[:, None]] * 2, *still, cheeks],
        "gap": [_UP * (drop * profile)[:, None]] * 3 + [_UP * (drop * profile_outer)[:, None], gap_chin, gap_chin, *still, cheeks],
        "jaw": [corner] * 3 + [_UP * _corner_drop(shape, 1.0 - profile_outer), jaw_chin, jaw_chin, *still, _cheek_drop(shape)],
        "tuck": [_DOWN * thin] * 3 + [0.04 * shape.scale * _DOWN * profile_outer[:, None], *[np.zeros_like(chin)] * 2, *still, cheeks],
        "press": [np.zeros_like(lip)] * 3 + [0.05 * shape.scale * _DOWN * profile_outer[:, None], *[np.zeros_like(chin)] * 2, *still, cheeks],
    }
    del none
    return _solve(at, controls, values)


def _corner_drop(shape: MouthShape, towards_corner: NDArray[np.float64]) -> NDArray[np.float64]:
    return (CORNER_DROP * shape.scale * towards_corner**3)[:, None]


def _cheek_drop(shape: MouthShape) -> Points:
    """Cheeks follow the jaw, the less the higher they sit."""
    height = np.clip((shape.cheeks[:, 1] + 1.2) / 1.2, 0.0, 1.0)
    return _UP * (0.10 * shape.scale * height)[:, None]


def _chin_profile(shape: MouthShape) -> NDArray[np.float64]:
    """1 at the chin, falling to 0 where the jaw turns up to the ear."""
    reach = np.linspace(-1.0, 1.0, len(shape.chin))
    profile: NDArray[np.float64] = np.cos(np.clip(np.abs(reach), 0.0, 1.0) * np.pi / 2.0) ** 0.9
    return profile


def _split(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """1 between the mouth corners, 0 outside, where both layers must move alike so that nothing tears."""
    left, right = inner_corners(shape)
    middle, half = (left + right) / 2.0, (right - left) / 2.0
    ramp = np.clip((1.06 - np.abs(at[:, 0] - middle) / half) / 0.16, 0.0, 1.0)
    split: NDArray[np.float64] = ramp * ramp * (3.0 - 2.0 * ramp)
    return split


def _field(at: Points, controls: Points, values: Points) -> NDArray[np.float64]:
    return thin_plate(controls, values, at)


def _solve(at: Points, controls: list[Points], values: dict[str, list[Points]]) -> NDArray[np.float64]:
    columns = np.hstack([np.vstack(values[name]) for name in LAYER_FIELDS])
    return thin_plate(np.vstack(controls), columns, at).reshape(len(at), len(LAYER_FIELDS), 2)
