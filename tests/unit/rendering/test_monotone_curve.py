"""Curves along lips and lids, against SciPy's monotone interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.rendering.monotone_curve import monotone_curve

interpolate = pytest.importorskip(
    "scipy.interpolate", reason="SciPy is not installed: pip install -e .[dev]"
)

POINTS = (
    np.array([[-1.0, 0.1], [-0.6, -0.2], [-0.1, -0.2], [0.0, -0.3], [0.4, 0.2], [1.0, 0.1]]),
    np.array([[-1.0, 0.0], [1.0, 0.5]]),
    np.cumsum(np.random.default_rng(1).uniform(0.001, 0.3, (40, 2)) * (1.0, 0.1), axis=0),
    np.cumsum(np.random.default_rng(2).uniform((0.001, -0.3), 0.3, (40, 2)), axis=0),
)


@pytest.mark.parametrize("points", POINTS)
def test_values_and_slopes_are_pchip_s_between_level_ends(points: np.ndarray) -> None:
    x, y = np.pad(points, ((1, 1), (0, 0)), mode="edge").T
    x[0], x[-1] = x[0] - 8.0, x[-1] + 8.0
    expected = interpolate.PchipInterpolator(x, y)
    places = np.concatenate([np.linspace(x[0], x[-1], 5001), points[:, 0]]).reshape(1, -1)
    made = monotone_curve(points[:, 0], points[:, 1])
    np.testing.assert_allclose(made(places), expected(places), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        made.slope(places), expected.derivative()(places), rtol=1e-10, atol=1e-11
    )


def test_a_curve_passes_through_its_points_and_not_beyond_them() -> None:
    points = POINTS[0]
    made = monotone_curve(points[:, 0], points[:, 1])
    np.testing.assert_allclose(made(points[:, 0]), points[:, 1], atol=1e-15)
    everywhere = made(np.linspace(-9.0, 9.0, 1001))
    assert points[:, 1].min() <= everywhere.min() and everywhere.max() <= points[:, 1].max()


@pytest.mark.parametrize("x", [[0.0, 0.0, 1.0], [0.0, 2.0, 1.0], [0.0, np.nan, 1.0]])
def test_points_that_make_no_curve_are_refused(x: list[float]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        monotone_curve(np.array(x), np.zeros(3))
