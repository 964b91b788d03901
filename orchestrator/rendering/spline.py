"""Thin-plate splines: the smoothest displacement field through given points.

Solved once per face and parameter.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from orchestrator.rendering.landmarks import Points

_Float = TypeVar("_Float", np.float32, np.float64)

STIFFNESS = 1e-3
"""Ridge on the kernel.

Landmarks are noisy to about a percent of the mouth, so the field need not pass through them
exactly.
"""


def thin_plate(controls: Points, values: NDArray[np.float64], at: Points) -> NDArray[np.float64]:
    """Evaluate splines through `controls` `[controls, 2]` at `at` `[n, 2]`; returns `[n, fields]`.

    `values` `[controls, fields]` are those at the controls.

    Bookstein, "Principal Warps", 1989: kernel r^2 log r^2 plus an affine part.
    """
    count = len(controls)
    affine = np.hstack([np.ones((count, 1)), controls])
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(controls, controls) + STIFFNESS * np.eye(count)
    system[:count, count:] = affine
    system[count:, :count] = affine.T
    right = np.vstack([values, np.zeros((3, values.shape[1]))])
    weights = np.linalg.solve(system, right)
    coarse = weights[:count].astype(np.float32)
    field = (_kernel(at.astype(np.float32), controls.astype(np.float32)) @ coarse).astype(
        np.float64
    )
    field += weights[count] + at @ weights[count + 1 :]
    return field


def _kernel(a: NDArray[_Float], b: NDArray[_Float]) -> NDArray[_Float]:
    """Kernel `[len(a), len(b)]` in the points' own precision.

    A spline is solved in double and evaluated in single precision. Single precision moves a point
    by less than 0.01 pixels and takes a third of the time: most of it goes into logarithms.
    """
    squared: NDArray[_Float] = np.square(a[:, None, 0] - b[None, :, 0])
    squared += np.square(a[:, None, 1] - b[None, :, 1])
    np.maximum(squared, 1e-12, out=squared)
    squared *= np.log(squared)
    return squared
