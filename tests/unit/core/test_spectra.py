"""FFT lengths and cosine bases, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.core.spectra import cosine_basis, fast_length

fft = pytest.importorskip("scipy.fft", reason="SciPy is not installed: pip install -e .[dev]")


def test_fast_lengths_are_the_smallest_with_no_prime_factor_above_five() -> None:
    minima = [*range(1, 3000), 65_537, 1_000_003, 2**24 + 1]
    assert [fast_length(minimum) for minimum in minima] == [
        fft.next_fast_len(minimum, real=True) for minimum in minima
    ]


@pytest.mark.parametrize(("values", "count"), [(80, 13), (26, 13), (128, 128), (1, 1)])
def test_the_cosine_basis_is_the_orthonormal_dct(values: int, count: int) -> None:
    rows = np.random.default_rng(1).normal(0.0, 30.0, (7, values))
    expected = fft.dct(rows, type=2, norm="ortho", axis=1)[:, :count]
    np.testing.assert_allclose(rows @ cosine_basis(values, count), expected, rtol=0, atol=1e-11)
