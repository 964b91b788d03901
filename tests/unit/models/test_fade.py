"""What a network painted comes and goes over some frames."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from demo_face import frame_windows

from orchestrator.models.base import FeatureWindows
from orchestrator.models.fade import Painted, faded
from orchestrator.models.wav2lip.adapter import Wav2Lip

SPOKEN = [True, False, False, False, False, True, True, True, True, False, False]


def patches(count: int, first: int = 0) -> np.ndarray:
    return (
        np.stack([np.full((2, 2, 3), first + index, np.uint8) for index in range(count)])
        if count
        else np.empty((0, 2, 2, 3), np.uint8)
    )


def shares(layers: list[Painted | None]) -> list[float]:
    return [0.0 if layer is None else layer.share for layer in layers]


def windows(silent: list[bool], first_frame: int = 0) -> FeatureWindows:
    return frame_windows(Wav2Lip.spec, silent, first_frame)


def test_speech_grows_out_of_rest_and_goes_back() -> None:
    found = shares(faded(windows(SPOKEN), patches(6), None))
    assert found[0] == 0.0
    assert 0.3 < found[1] < found[2] < found[3] == found[4] == 1.0
    assert 1.0 > found[5] > found[6] > found[7] == found[8] == 0.0
    assert found[9] > 0.0
    assert max(abs(after - before) for before, after in pairwise(found)) < 0.5


def test_the_last_mouth_is_what_fades_out() -> None:
    layers = faded(windows(SPOKEN), patches(6), None)
    assert [int(layer.patch[0, 0, 0]) for layer in layers if layer is not None] == [
        0,
        1,
        2,
        3,
        3,
        3,
        4,
        5,
    ]


@pytest.mark.parametrize("chunks", [[4, 4, 3], [1] * 11, [3, 1, 4, 3]])
def test_any_chunking_gives_the_same_shares(chunks: list[int]) -> None:
    before, found, first, spoken = None, [], 0, 0
    for count in chunks:
        silent = SPOKEN[first : first + count]
        layers = faded(windows(silent, first), patches(silent.count(False), spoken), before)
        found, before, first, spoken = (
            found + layers,
            layers[-1],
            first + count,
            spoken + silent.count(False),
        )
    assert shares(found) == pytest.approx(shares(faded(windows(SPOKEN), patches(6), None)))


@pytest.mark.parametrize("jump_s", [0.3, 60.0, -1.0])
def test_what_was_painted_before_another_model_took_over_is_not_shown_again(jump_s: float) -> None:
    before = Painted(idle_s=5.0, share=1.0, patch=patches(1)[0])
    later = replace(windows([True, False]), idle_s=np.array([5.0, 5.05]) + jump_s)
    assert shares(faded(later, patches(1), before)) == [0.0, 0.4]


def test_the_state_given_is_left_as_it_is() -> None:
    before = Painted(idle_s=0.0, share=1.0, patch=patches(1)[0])
    faded(windows([True, True]), patches(0), before)
    assert (before.idle_s, before.share) == (0.0, 1.0)
