"""Mouths at the centres of video frames: smoothed, with closures kept, and at rest where no step is
near.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestrator.rendering.frame_centres import RESTING_CENTRE, mouths_at, spoken_motion
from orchestrator.rendering.motion import CLOSED, JAW, MOUTH_PARAMETERS, OPEN

STEPS = 8
MIDDLE = 3


def steps_of(values: list[float], column: int = OPEN) -> np.ndarray[Any, np.dtype[np.float32]]:
    steps = np.zeros((1, STEPS, len(MOUTH_PARAMETERS)), np.float32)
    steps[0, :, column] = values
    return steps


def centre(values: list[float], phase: float, column: int = OPEN) -> float:
    return float(
        mouths_at(np.array([MIDDLE + phase], np.float32), steps_of(values, column))[0, column]
    )


def test_a_constant_mouth_stays_what_it_is() -> None:
    assert centre([0.5] * STEPS, 0.3, JAW) == pytest.approx(0.5)


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 0.75])
def test_a_ramp_is_read_exactly_at_the_centre(phase: float) -> None:
    ramp = [0.1 * step for step in range(STEPS)]
    assert centre(ramp, phase, JAW) == pytest.approx(0.1 * (MIDDLE + phase), abs=0.005)


def test_a_short_closure_survives_the_smoothing() -> None:
    closure = [0.0] * STEPS
    closure[MIDDLE] = 1.0
    assert centre(closure, 0.0, CLOSED) == pytest.approx(1.0)
    assert centre(closure, 0.0, JAW) < 0.6


def test_lips_that_nearly_touch_touch_and_open_ones_stay_open() -> None:
    assert centre([0.08] * STEPS, 0.0) == 0.0
    assert centre([1.0] * STEPS, 0.0) == pytest.approx(1.0)
    gaps = [centre([level] * STEPS, 0.0) for level in (0.1, 0.2, 0.4, 0.8)]
    assert gaps == sorted(gaps)


def test_a_distant_closure_does_not_close_the_frame() -> None:
    closure = [0.0] * STEPS
    closure[0] = closure[-1] = 1.0
    assert centre(closure, 0.5, CLOSED) == 0.0


def test_the_frames_of_a_window_follow_one_another_with_their_own_head() -> None:
    steps = np.concatenate(
        [steps_of([0.1 * step for step in range(STEPS)], JAW), steps_of([0.9] * STEPS, JAW)]
    )
    moments = np.arange(2 * 2 * 5, dtype=np.float32).reshape(2, 2, 5) / 100.0
    moments[0, :, 0], moments[1, :, 0] = (3.0, 5.0), (4.0, RESTING_CENTRE)
    motion = spoken_motion(steps, moments)
    assert motion[:, JAW] == pytest.approx([0.3, 0.5, 0.9, 0.0], abs=0.005)
    np.testing.assert_array_equal(
        motion[:, len(MOUTH_PARAMETERS) :], moments[:, :, 1:].reshape(4, 4)
    )


def test_a_mouth_beyond_all_steps_rests() -> None:
    assert not mouths_at(
        np.array([RESTING_CENTRE], np.float32),
        np.ones((1, STEPS, len(MOUTH_PARAMETERS)), np.float32),
    ).any()
