"""A picture in between lies on the motion, not on both ends of it."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.core.types import RgbImage
from orchestrator.video.interpolation import interpolate


def disc(x: float) -> RgbImage:
    """A soft disc on a soft ground, `x` pixels from the left."""
    rows, columns = np.mgrid[0:128, 0:128]
    ground = 90 + 30 * np.sin(rows / 9.0) * np.cos(columns / 11.0)
    cover = 1.0 / (1.0 + np.exp(np.hypot(columns - x, rows - 64.0) - 20.0))
    picture = ground + cover * (210.0 + 20 * np.sin((columns - x) / 3.0) - ground)
    return np.repeat(picture[..., None], 3, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.75])
def test_what_moves_is_found_on_its_way(factor: float) -> None:
    between = disc(60.0 + 8.0 * factor)
    moved = np.abs(interpolate(disc(60.0), disc(68.0), factor).astype(int) - between).mean()
    blended = np.abs((1 - factor) * disc(60.0) + factor * disc(68.0) - between).mean()
    assert moved < 0.5 * blended


def test_at_the_ends_it_is_the_pictures_themselves() -> None:
    before, after = disc(60.0), disc(70.0)
    assert np.array_equal(interpolate(before, after, 0.0), before)
    assert np.array_equal(interpolate(before, after, 1.0), after)
    assert np.array_equal(interpolate(before, before, 0.5), before)


def test_pictures_of_two_sizes_and_factors_outside_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        interpolate(disc(60.0), disc(60.0)[:64], 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        interpolate(disc(60.0), disc(60.0), 1.5)
