"""Filters of Audio2Head's pitch search as finite kernels."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

NUTTALL: Final = (0.355768, 0.487396, 0.144232, 0.012604)
"""Four-term cosine window with a continuous first derivative.

Source: A. H. Nuttall, "Some windows with very good sidelobe behavior", 1981.
"""

Array = NDArray[np.float64]


@lru_cache(maxsize=4)
def zero_phase_kernel(
    numerator: tuple[float, ...], denominator: tuple[float, ...], taps: int
) -> Array:
    """Kernel `[2 taps - 1]` of a recursive filter that is run forward and backward.

    It is the filter's impulse response correlated with itself. `denominator[0]` is 1. `taps` must
    reach to where the response is below rounding; recursion would give the same to some 1e-15.
    """
    response = np.zeros(taps)
    for tap in range(taps):
        fed_back = sum(
            factor * response[tap - lag]
            for lag, factor in enumerate(denominator[1:], 1)
            if lag <= tap
        )
        response[tap] = (numerator[tap] if tap < len(numerator) else 0.0) - fed_back
    return np.correlate(response, response, mode="full")


def nuttall_window(length: int) -> Array:
    """Symmetric window `[length]`, largest in the middle."""
    phase = np.outer(np.linspace(-np.pi, np.pi, length), np.arange(len(NUTTALL)))
    window: Array = np.cos(phase) @ np.array(NUTTALL)
    return window
