"""Displacement maps of the mouth parameters: one thin-plate spline each, in mouth coordinates.

All fields are *backward*: they give the place in the photo that a pixel of the frame comes from,
relative to the pixel. A control point that moves by d therefore has the value -d at every place it
may reach, which makes sums of fields exact along its way.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.rendering.landmarks import Points
from orchestrator.rendering.mouth_shape import MouthShape, columns, inner_corners, opening_profile
from orchestrator.rendering.spline import thin_plate

COMMON_FIELDS: Final = ("wide", "round")
"""Fields that move both layers alike."""

LAYER_FIELDS: Final = ("rest", "gap", "oval", "jaw", "tuck", "press")
"""Fields of the two layers.

`rest` closes the photo's mouth and always has weight one, `oval` rounds the opening's ends.
"""

MAX_GAP: Final = 0.92
"""Gap of the lips at full opening, in neutral half mouth widths.

A wide "aa" is about half as high as the mouth is wide.
"""

UPPER_SHARE: Final = 0.14
"""Part of the gap that the upper lip makes; the jaw makes the rest."""

CHIN_DROP_GAP: Final = 0.22
CHIN_DROP_JAW: Final = 0.36
"""Drop of the chin at full opening and with the jaw fully lowered, in neutral half mouth widths."""

CORNER_DROP: Final = 0.14
ROUND_SHRINK: Final = 0.34
ROUND_SHRINK_SMILE: Final = 0.10
"""Share of its width that the mouth loses when fully rounded; a smile has more to lose."""

WIDEN: Final = 0.13

FOLD_SHARE: Final = 0.35
"""Share of the corners' movement that the folds beside the mouth follow.

Pulled in fully they would show as deep upright lines.
"""


def round_shrink(shape: MouthShape) -> float:
    """Share of the mouth's width lost at full rounding."""
    return ROUND_SHRINK + ROUND_SHRINK_SMILE * shape.smile


def common_fields(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """`[fields, n, 2]` displacements of COMMON_FIELDS at `at` `[n, 2]`, mouth coordinates."""
    lips = np.vstack([shape.upper_outer, shape.lower_outer, shape.seam])
    opened = shape.seam + _down(
        0.6 * MAX_GAP * shape.scale * opening_profile(shape.seam[:, 0], shape)
    )
    moved = np.vstack([lips, opened])
    anchors = np.vstack([shape.still, shape.chin, _below_chin(shape)])
    fields = []
    for movement in (_widening, _rounding):
        way, follow = (
            movement(shape, moved),
            FOLD_SHARE * movement(shape, np.clip(shape.folds, -1.0, 1.0)),
        )
        controls = np.vstack([moved + way, shape.folds + follow, anchors])
        fields.append(thin_plate(controls, -np.vstack([way, follow, np.zeros_like(anchors)]), at))
    return np.stack(fields)


def layer_fields(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """`[fields, n, 4]` displacements of LAYER_FIELDS at `at` `[n, 2]`.

    Columns: x and y of the upper layer, then of the lower.
    """
    upper, lower = _upper_fields(shape, at), _lower_fields(shape, at)
    split = _split(shape, at)[:, None, None]
    upper = lower + (upper - lower) * split
    # all but `rest`, which has to close the corners too
    lower[:, 1:] += (upper - lower)[:, 1:] * _corners(shape, at)[:, None, None]
    fields: NDArray[np.float64] = np.concatenate([upper, lower], axis=2).transpose(1, 0, 2)
    return fields


def _widening(shape: MouthShape, points: Points) -> Points:
    """Move the corners outwards and a little up."""
    reach = np.clip(np.abs(points[:, 0]), 0.0, 1.0)
    return np.stack([np.sign(points[:, 0]) * WIDEN * reach**1.5, -0.05 * reach**3], axis=1)


def _rounding(shape: MouthShape, points: Points) -> Points:
    """Move towards the middle: corners to the lips' middle height, both lips a little fuller."""
    middle = float(shape.seam[5, 1])
    reach = np.clip(np.abs(points[:, 0]), 0.0, 1.0)
    level = 0.9 * (middle - shape.seam[[0, -1], 1].mean()) * reach**2
    fuller = 0.10 * np.clip((points[:, 1] - middle) / 0.3, -1.0, 1.0) * (1.0 - reach**2)
    return np.stack([-round_shrink(shape) * points[:, 0], level + fuller], axis=1)


def _below_chin(shape: MouthShape) -> Points:
    """Points of the neck and the shoulders, which stay; the chin covers the first of them."""
    lowest = float(shape.chin[:, 1].max())
    near = shape.chin[2:-2] + np.array([0.0, CHIN_DROP_JAW + CHIN_DROP_GAP + 0.32])
    rows = [
        np.stack([np.linspace(-2.4, 2.4, 9), np.full(9, lowest + depth)], axis=1)
        for depth in (0.98, 1.25)
    ]
    return np.vstack([near, *rows])


def _upper_fields(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """`[n, fields, 2]` for the upper lip and the cheeks."""
    lip, outer = columns(shape.seam), shape.upper_outer
    profile, profile_outer = opening_profile(lip[:, 0], shape), opening_profile(outer[:, 0], shape)
    unit, share = shape.scale, MAX_GAP * UPPER_SHARE * shape.scale
    rest = columns(shape.upper_inner) - lip - _overlap(shape)
    rest_outer = shape.upper_inner - shape.seam
    quiet = [np.zeros_like(c) for c in (shape.still, shape.cheeks, shape.chin)]
    values = {
        "rest": [rest, rest, 0.8 * rest_outer, *quiet],
        "gap": [_down(share * profile)] * 2 + [_down(0.9 * share * profile_outer), *quiet],
        "oval": [_down(share * _rounder(profile))] * 2
        + [_down(0.6 * share * _rounder(profile_outer)), *quiet],
        "jaw": [-_corner_drop(shape, profile)] * 2
        + [-_corner_drop(shape, profile_outer), quiet[0], _cheek_drop(shape), quiet[2]],
        "tuck": [_down(0.04 * unit * profile)] * 2 + [_down(0.04 * unit * profile_outer), *quiet],
        "press": [np.zeros_like(lip)] * 2 + [_down(-0.035 * unit * profile_outer), *quiet],
    }
    way = [lip, lip - _down(share * profile)]
    return _solve(at, [*way, outer, shape.still, shape.cheeks, shape.chin], values)


def _lower_fields(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """`[n, fields, 2]` for the lower lip, the jaw and the chin."""
    lip, outer, chin, unit = columns(shape.seam), shape.lower_outer, shape.chin, shape.scale
    profile, profile_outer = opening_profile(lip[:, 0], shape), opening_profile(outer[:, 0], shape)
    drop = MAX_GAP * (1.0 - UPPER_SHARE) * unit
    gap_chin, jaw_chin = (
        -_down(travel * unit * _chin_profile(shape)) for travel in (CHIN_DROP_GAP, CHIN_DROP_JAW)
    )
    rest = columns(shape.lower_inner) - lip + _overlap(shape)
    rest_outer = shape.lower_inner - shape.seam
    rest_chin = _down(0.12 * rest[len(rest) // 2, 1] * _chin_profile(shape))
    around = [shape.still, _below_chin(shape), shape.cheeks]
    quiet = [np.zeros_like(points) for points in around]
    travelling = {
        "rest": [rest] * 3 + [0.85 * rest_outer, rest_chin, rest_chin, *quiet],
        "gap": [_down(-drop * profile)] * 3
        + [_down(-drop * profile_outer), gap_chin, gap_chin, *quiet],
        "oval": [_down(-drop * _rounder(profile))] * 3
        + [_down(-drop * _rounder(profile_outer)), 0 * chin, 0 * chin, *quiet],
        "jaw": [-_corner_drop(shape, profile)] * 3
        + [-_corner_drop(shape, profile_outer), jaw_chin, jaw_chin, *quiet[:2], _cheek_drop(shape)],
    }
    ways = [lip + _down(drop * profile * part) for part in (0.0, 0.5, 1.0)]
    moving = _solve(at, [*ways, outer, chin, chin - gap_chin - jaw_chin, *around], travelling)
    pressing = {
        "tuck": [
            _down(0.08 * unit * profile),
            _down(0.03 * unit * profile_outer),
            0 * chin,
            *quiet,
        ],
        "press": [0 * lip, _down(0.05 * unit * profile_outer), 0 * chin, *quiet],
    }
    return np.concatenate([moving, _solve(at, [lip, outer, chin, *around], pressing)], axis=1)


def _overlap(shape: MouthShape) -> Points:
    """Overlap of lips closed over a photo's teeth, in mouth coordinates.

    Without it teeth would shine through where the spline is not exact.
    """
    return np.array([0.0, 0.0 if shape.shut else 0.2 / shape.frame.unit])


def _down(distance: NDArray[np.float64]) -> Points:
    """Vectors `[n, 2]` straight down."""
    return np.stack([np.zeros_like(distance), distance], axis=1)


def _rounder(profile: NDArray[np.float64]) -> NDArray[np.float64]:
    """Difference of an oval opening from the lens-shaped one."""
    fuller: NDArray[np.float64] = profile**0.5 - profile
    return fuller


def _corner_drop(shape: MouthShape, profile: NDArray[np.float64]) -> Points:
    """Drop of the corners, which follow the jaw a little."""
    return _down(CORNER_DROP * shape.scale * (1.0 - profile) ** 3)


def _cheek_drop(shape: MouthShape) -> Points:
    """Drop of the cheeks, which follow the jaw less the higher they sit."""
    height = np.clip((shape.cheeks[:, 1] + 1.2) / 1.2, 0.0, 1.0)
    return -_down(0.10 * shape.scale * height)


def _chin_profile(shape: MouthShape) -> NDArray[np.float64]:
    """1 at the chin, falling to 0 where the jaw turns up to the ear."""
    reach = np.linspace(-1.0, 1.0, len(shape.chin))
    profile: NDArray[np.float64] = np.cos(np.clip(np.abs(reach), 0.0, 1.0) * np.pi / 2.0) ** 0.9
    return profile


def _split(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """1 between the mouth corners, 0 outside, where both layers must move alike.

    Otherwise the image would tear there.
    """
    left, right = inner_corners(shape)
    middle, half = (left + right) / 2.0, (right - left) / 2.0
    ramp = np.clip((1.06 - np.abs(at[:, 0] - middle) / half) / 0.16, 0.0, 1.0)
    split: NDArray[np.float64] = ramp * ramp * (3.0 - 2.0 * ramp)
    return split


def _corners(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """1 at the mouth corners, 0 a little away from them.

    At the corners the lower lip follows the upper one and the opening ends in a point.
    """
    held = np.zeros(len(at))
    for corner in (shape.seam[0], shape.seam[-1]):
        apart = (at - corner) / np.array([0.26, 0.36])
        held = np.maximum(
            held, np.clip(1.25 * (1.0 - np.hypot(apart[:, 0], apart[:, 1])), 0.0, 1.0)
        )
    smooth: NDArray[np.float64] = held * held * (3.0 - 2.0 * held)
    return smooth


def _solve(
    at: Points, controls: list[Points], values: dict[str, list[Points]]
) -> NDArray[np.float64]:
    """`[n, fields, 2]` at `at`, one spline per named field."""
    columns = np.hstack([np.vstack(parts) for parts in values.values()])
    return thin_plate(np.vstack(controls), columns, at).reshape(len(at), len(values), 2)
