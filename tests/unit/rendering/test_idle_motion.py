"""Idle motion: a function of time and seed alone, within bounds, at a natural pace."""

from __future__ import annotations

import numpy as np

from orchestrator.rendering.idle import idle_motion

TIMES = np.arange(0.0, 120.0, 0.01)


def test_any_chunking_gives_the_same_motion() -> None:
    whole = idle_motion(TIMES, seed=3)
    pieces = [idle_motion(TIMES[start : start + 7], seed=3) for start in range(0, len(TIMES), 7)]
    assert np.array_equal(whole, np.concatenate(pieces))


def test_seeds_differ() -> None:
    assert not np.allclose(idle_motion(TIMES, seed=1), idle_motion(TIMES, seed=2))


def test_no_times_give_no_rows() -> None:
    assert idle_motion(np.zeros(0), seed=1).shape == (0, 4)


def test_motion_stays_in_bounds() -> None:
    rows = idle_motion(TIMES, seed=5)
    assert rows.dtype == np.float32
    assert 0.0 <= rows[:, 0].min() <= rows[:, 0].max() <= 1.0
    assert np.abs(rows[:, 1:3]).max() <= 0.01
    assert np.abs(rows[:, 3]).max() <= np.deg2rad(1.0)


def test_sway_is_smooth() -> None:
    assert np.abs(np.diff(idle_motion(TIMES, seed=5)[:, 1:], axis=0)).max() < 2e-4


def test_blinks_come_every_two_to_six_seconds_and_last_a_quarter_of_one() -> None:
    for seed in range(5):
        shut = idle_motion(TIMES, seed)[:, 0] > 0.02
        starts = TIMES[1:][np.diff(shut.astype(int)) == 1]
        ends = TIMES[1:][np.diff(shut.astype(int)) == -1]
        assert 2.0 <= np.diff(starts).min() <= np.diff(starts).max() <= 6.0
        lasted = ends[1:-1] - starts[: len(ends)][1:-1]
        assert 0.15 <= lasted.min() <= lasted.max() <= 0.25


def test_lids_close_faster_than_they_open() -> None:
    lids = idle_motion(TIMES, seed=0)[:, 0]
    assert np.diff(lids).max() > 1.5 * -np.diff(lids).min()


def test_every_blink_closes_the_eyes() -> None:
    lids = idle_motion(np.arange(0.0, 4.0, 0.001), seed=9)[:, 0]
    assert lids.max() > 0.99
