"""One picture grows out of another, over batches as over frames of one."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.video.cross_fade import CROSS_FADE_FRAMES, CrossFade

BEFORE, AFTER = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 200, np.uint8)


def levels(sizes: list[int]) -> list[int]:
    """Of the pictures of batches of these sizes, the first of them after a switch."""
    fade = CrossFade()
    batches = [
        fade.over(BEFORE if number == 0 else None, [AFTER] * size)
        for number, size in enumerate(sizes)
    ]
    return [int(image[0, 0, 0]) for batch in batches for image in batch]


@pytest.mark.parametrize("sizes", [[5], [2, 3], [1, 1, 1, 1, 1]])
def test_a_cross_fade_grows_out_of_the_last_picture_however_frames_are_batched(
    sizes: list[int],
) -> None:
    assert levels(sizes) == [50, 100, 150, 200, 200]
    assert CROSS_FADE_FRAMES == 3


def test_pictures_of_another_size_are_not_mixed() -> None:
    larger = np.full((8, 8, 3), 200, np.uint8)
    (image,) = CrossFade().over(BEFORE, [larger])
    assert image is larger


def test_without_a_switch_pictures_pass_as_they_are() -> None:
    assert CrossFade().over(None, [AFTER])[0] is AFTER
