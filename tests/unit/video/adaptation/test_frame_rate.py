"""The frame rate gives way to load and comes back, without flapping."""

from __future__ import annotations

import pytest

from orchestrator.video.adaptation.frame_rate import (
    FrameRate,
    after_load,
    is_kept,
    load_of,
    thinned,
)


def after(loads: list[float], step_s: float = 0.5) -> list[float]:
    rate, fps = FrameRate(), []
    for index, load in enumerate(loads):
        rate = after_load(rate, load, index * step_s)
        fps.append(rate.fps(20.0))
    return fps


def test_lasting_load_lowers_20_to_15_and_lasting_ease_brings_it_back() -> None:
    fps = after([1.0] * 4 + [0.3] * 8)
    assert fps == [20.0, 20.0, 15.0, 15.0, 15.0, 15.0, 15.0, 15.0, 15.0, 15.0, 20.0, 20.0]


def test_a_queue_half_full_and_a_model_late_at_its_limit_are_overload_alike() -> None:
    rate = FrameRate()
    assert (
        after([load_of(rate, 0.51, 0.0, 0.0)] * 4)[-1]
        == after([load_of(rate, 0.0, 0.91, 2.1)] * 4)[-1]
        == 15.0
    )
    assert set(after([load_of(rate, 0.3, 0.7, 2.1)] * 20)) == {20.0}


def test_a_slow_model_that_is_not_late_yet_keeps_its_frames_and_so_does_one_that_fewer_would_not_help() -> (
    None
):
    assert set(after([load_of(FrameRate(), 0.0, 1.2, 1.9)] * 20)) == {20.0}
    assert set(after([load_of(FrameRate(), 0.0, 30.0, 60.0)] * 20)) == {20.0}


def test_a_model_that_the_lower_rate_suits_keeps_it_though_it_is_late_no_more() -> None:
    assert load_of(FrameRate(reduced=True), 0.0, 0.9, 0.0) == 0.9


def test_a_peak_changes_nothing() -> None:
    assert set(after([0.2, 1.0, 0.2, 1.0, 0.2, 1.0])) == {20.0}


def test_between_the_limits_the_rate_stays_what_it_is() -> None:
    assert after([1.0] * 4 + [0.75] * 20)[-1] == 15.0
    assert set(after([0.75] * 20)) == {20.0}


@pytest.mark.parametrize(
    ("asked_fps", "reduced_fps"), [(25.0, 18.75), (20.0, 15.0), (16.0, 15.0), (15.0, 15.0)]
)
def test_the_reduced_rate_is_three_quarters_but_not_below_15(
    asked_fps: float, reduced_fps: float
) -> None:
    assert FrameRate(reduced=True).fps(asked_fps) == reduced_fps


def test_frames_are_left_out_evenly() -> None:
    assert [frame for frame in range(12) if is_kept(frame, 20.0, 15.0)] == [
        0,
        2,
        3,
        4,
        6,
        7,
        8,
        10,
        11,
    ]
    assert thinned(list(range(8)), 20.0, 10.0) == [0, 2, 4, 6]
    assert thinned(list(range(4)), 15.0, 20.0) == [0, 1, 2, 3]
