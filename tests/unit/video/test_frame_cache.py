"""What several sessions show alike is drawn twice and then shared for a while."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.core.types import RgbImage
from orchestrator.video.frame_cache import FrameCache


def pictures(grey: int, count: int = 2) -> list[RgbImage]:
    return list(np.full((count, 8, 8, 3), grey, np.uint8))


def test_a_picture_is_kept_from_its_second_drawing_on() -> None:
    cache = FrameCache(60.0)
    cache.put(["a", "b"], pictures(1), now=0.0)
    assert cache.get(["a", "b"], now=1.0) is None
    cache.put(["a", "b"], pictures(1), now=2.0)
    found = cache.get(["a", "b"], now=3.0)
    assert found is not None
    assert np.array_equal(found, pictures(1))
    assert cache.get(["a", "c"], now=3.0) is None


def test_a_picture_is_forgotten_after_its_time() -> None:
    cache = FrameCache(60.0)
    for now in (0.0, 1.0):
        cache.put(["a", "b"], pictures(1), now=now)
    assert cache.get(["a", "b"], now=60.9) is not None
    assert cache.get(["a", "b"], now=61.0) is None


def test_nobody_can_paint_over_a_shared_picture() -> None:
    cache, drawn = FrameCache(60.0), pictures(1)
    for now in (0.0, 1.0):
        cache.put(["a", "b"], drawn, now=now)
    drawn[0][:] = 9
    found = cache.get(["a", "b"], now=2.0)
    assert found is not None
    assert found[0].max() == 1
    with pytest.raises(ValueError, match="read-only"):
        found[0][:] = 5


def test_memory_is_bounded() -> None:
    cache = FrameCache(60.0, max_bytes=1_000)
    for number in range(40):
        for now in (0.0, 1.0):
            cache.put([number], pictures(number, 1), now=now)
    assert cache._frames.total_bytes <= 1_000
    assert cache.get([39], now=2.0) is not None
    assert cache.get([0], now=2.0) is None
