"""Descriptor of the proportions of a face, stored as its embedding.

Geometry only, not the output of a recognition network.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_POINT_STEP: Final = 7
"""Step between the mesh points used: 67 of the 468, all over the face."""

_LEFT_EYE, _RIGHT_EYE = 33, 263


def describe(points: NDArray[np.float64]) -> tuple[float, ...]:
    """Descriptor of 134 numbers: x, y of 67 mesh points, normalised.

    The eyes are level and one unit apart; the vector has mean 0 and length 1. Another photo of the
    same face is close by cosine only with a similar pose and expression. The descriptor detects a
    picture stored twice; it does not identify a person.
    """
    flat = points[:468, :2]
    across = flat[_RIGHT_EYE] - flat[_LEFT_EYE]
    turn = np.array(((across[0], across[1]), (-across[1], across[0]))) / max(
        1e-9, float(across @ across)
    )
    shape = (flat @ turn.T)[::_POINT_STEP]
    vector = (shape - shape.mean(axis=0)).ravel()
    return tuple(
        round(float(value), 6) for value in vector / max(1e-9, float(np.linalg.norm(vector)))
    )
