"""A short vector of a face's proportions, stored as its embedding: geometry only, not a recognition
network's output.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_EVERY: Final = 7
"""Mesh points used: every seventh of the 468, 67 points all over the face."""

_LEFT_EYE, _RIGHT_EYE = 33, 263


def describe(points: NDArray[np.float64]) -> tuple[float, ...]:
    """134 numbers, x then y of 67 mesh points, the eyes level and one unit apart, mean 0, length 1.

    The same face in another photo is close by cosine only where pose and expression are alike: it
    tells a picture that was stored twice, it does not identify a person.
    """
    flat = points[:468, :2]
    across = flat[_RIGHT_EYE] - flat[_LEFT_EYE]
    turn = np.array(((across[0], across[1]), (-across[1], across[0]))) / max(
        1e-9, float(across @ across)
    )
    shape = (flat @ turn.T)[::_EVERY]
    vector = (shape - shape.mean(axis=0)).ravel()
    return tuple(
        round(float(value), 6) for value in vector / max(1e-9, float(np.linalg.norm(vector)))
    )
