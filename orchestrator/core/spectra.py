"""Transform lengths and cosine bases that numpy's FFT module does not provide."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def fast_length(minimum: int) -> int:
    """Return the smallest `2^a 3^b 5^c` of at least `minimum` (1 or more): fast for a real FFT.

    PocketFFT, which numpy uses, has special real passes for the factors 2, 3, 4 and 5, and slower
    ones for other primes.
    """
    best = 1 << (minimum - 1).bit_length()
    fives = 1
    while fives < best:
        odd = fives
        while odd < best:
            best = min(best, odd << (-(-minimum // odd) - 1).bit_length())
            odd *= 3
        fives *= 5
    return best


@lru_cache(maxsize=8)
def cosine_basis(values: int, count: int) -> NDArray[np.float64]:
    """Return the first `count` columns of the orthonormal DCT-II, `[values, count]`.

    `rows @ cosine_basis(...)` transforms rows `[n, values]`.

    `X[k] = s sum_i x[i] cos(pi k (2 i + 1) / (2 values))`, s = `sqrt(1 / values)` for k = 0 and
    `sqrt(2 / values)` else. Source: N. Ahmed, T. Natarajan, K. R. Rao, "Discrete cosine transform",
    1974. A product is faster than an FFT below some 128 values.
    """
    order = np.arange(count)
    scale = np.sqrt(np.where(order == 0, 1.0, 2.0) / values)
    basis: NDArray[np.float64] = scale * np.cos(
        np.pi / (2 * values) * np.outer(2 * np.arange(values) + 1, order)
    )
    return basis
