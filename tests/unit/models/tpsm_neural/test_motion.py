"""Sizes of faces by the hulls of their key points."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.models.tpsm_neural.motion import hull_area, motion_scale


def test_the_area_is_that_of_the_hull_s_inside() -> None:
    assert hull_area(np.array([[0.0, 0.0], [2, 0], [2, 2], [0, 2], [1, 1]])) == pytest.approx(4.0)


def test_areas_are_qhull_s() -> None:
    spatial = pytest.importorskip(
        "scipy.spatial", reason="SciPy is not installed: pip install -e .[dev]"
    )
    for seed in range(20):
        points = np.random.default_rng(seed).uniform(-0.8, 0.8, (50, 2)).astype(np.float32)
        assert hull_area(points) == pytest.approx(spatial.ConvexHull(points).volume, rel=1e-6)


def test_a_face_of_twice_the_width_has_twice_the_scale() -> None:
    points = np.random.default_rng(1).uniform(-0.3, 0.3, (50, 2)).astype(np.float32)
    assert motion_scale(2 * points + np.float32(0.1), points) == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("slope", [0.0, 0.1, 1e6])
def test_points_on_a_line_have_no_area(slope: float) -> None:
    x = np.linspace(-0.8, 0.8, 50)
    with pytest.raises(ValueError, match="one line"):
        hull_area(np.stack([x, slope * x], axis=1).astype(np.float32))


def test_points_that_are_no_numbers_have_no_area() -> None:
    with pytest.raises(ValueError, match="one line"):
        hull_area(np.full((50, 2), np.nan, np.float32))
