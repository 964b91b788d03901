"""Smooth curve through points that rises and falls only where the points do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MonotoneCurve:
    """Cubic pieces between knots, level at both ends and beyond them."""

    knots: Array
    """`[n]`, ascending."""
    pieces: Array
    """`[4, n - 1]`: factors of the cube, square, first and zeroth power.

    Of the distance from the knot on the left.
    """

    def __call__(self, x: Array) -> Array:
        """y at each x, of the same shape."""
        piece, t = self._place(x)
        cube, square, first, zeroth = self.pieces
        y: Array = ((cube[piece] * t + square[piece]) * t + first[piece]) * t + zeroth[piece]
        return y

    def slope(self, x: Array) -> Array:
        """dy/dx at each x, of the same shape."""
        piece, t = self._place(x)
        cube, square, first, _ = self.pieces
        slope: Array = (3.0 * cube[piece] * t + 2.0 * square[piece]) * t + first[piece]
        return slope

    def _place(self, x: Array) -> tuple[NDArray[np.intp], Array]:
        inside = np.clip(x, self.knots[0], self.knots[-1])
        piece = np.searchsorted(self.knots[1:-1], inside, side="right")
        return piece, inside - self.knots[piece]


def monotone_curve(x: Array, y: Array) -> MonotoneCurve:
    """The curve through `[n]` points, n at least 2. ValueError unless all are finite and x ascends.

    Source: F. N. Fritsch, R. E. Carlson, "Monotone piecewise cubic interpolation", 1980 ("PCHIP").
    """
    width, rise = np.diff(x), np.diff(y)
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (width > 0.0).all()):
        raise ValueError("curve points must be finite and ascending in x: check the landmarks")
    chord = rise / width
    slope = _slopes(width, chord)
    bend = (slope[:-1] + slope[1:] - 2.0 * chord) / width
    return MonotoneCurve(
        x, np.stack([bend / width, (chord - slope[:-1]) / width - bend, slope[:-1], y[:-1]])
    )


def _slopes(width: Array, chord: Array) -> Array:
    """Slopes `[n]` at the knots: 0 at ends and turning points.

    Else a weighted harmonic mean of the chords' slopes on both sides. Source: F. N. Fritsch, J.
    Butland, "A method for constructing local monotone piecewise cubic interpolants", 1984.
    """
    slope = np.zeros(len(chord) + 1)
    near, far = width[:-1] + 2.0 * width[1:], 2.0 * width[:-1] + width[1:]
    before, after = chord[:-1], chord[1:]
    same_way = before * after > 0.0
    np.divide(
        near + far,
        near / np.where(same_way, before, 1.0) + far / np.where(same_way, after, 1.0),
        out=slope[1:-1],
        where=same_way,
    )
    return slope
