"""Audio2Head's filters, against SciPy's recursion and windows."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.models.audio2head.filters import NUTTALL, nuttall_window, zero_phase_kernel
from orchestrator.models.audio2head.harvest_contour import SMOOTHING, SMOOTHING_TAPS, smoothed
from orchestrator.models.audio2head.harvest_pitch import LOW_PASS, LOW_PASS_TAPS

signal = pytest.importorskip("scipy.signal", reason="SciPy is not installed: pip install -e .[dev]")


@pytest.mark.parametrize(
    ("recursion", "taps"), [(LOW_PASS, LOW_PASS_TAPS), (SMOOTHING, SMOOTHING_TAPS)]
)
def test_a_kernel_filters_as_the_recursion_does_forward_and_backward(
    recursion: tuple, taps: int
) -> None:
    sound = np.pad(np.random.default_rng(1).normal(0.0, 1.0, 5_000), 2 * taps)
    expected = signal.lfilter(*recursion, signal.lfilter(*recursion, sound)[::-1])[::-1]
    filtered = np.convolve(sound, zero_phase_kernel(*recursion, taps), mode="same")
    np.testing.assert_allclose(filtered, expected, rtol=0, atol=2e-15 * taps)


def test_the_low_pass_is_chebyshev_s() -> None:
    for made, designed in zip(LOW_PASS, signal.cheby1(3, 0.05, 0.4), strict=True):
        np.testing.assert_allclose(made, designed, rtol=0, atol=1e-15)


def test_the_window_is_the_sum_of_its_cosines() -> None:
    np.testing.assert_allclose(
        nuttall_window(447), signal.windows.general_cosine(447, NUTTALL), rtol=0, atol=1e-15
    )


def test_voiced_sections_are_smoothed_as_if_each_were_held_before_and_after() -> None:
    contour = np.zeros(900)
    contour[:40] = np.linspace(90.0, 120.0, 40)
    contour[100:600] = 200.0 + 20.0 * np.sin(np.arange(500) / 30.0)
    contour[890:] = 300.0
    result = np.zeros(900)
    for section in (slice(0, 40), slice(100, 600), slice(890, 900)):
        held = np.pad(contour[section], 1_000, mode="edge")
        twice = signal.lfilter(*SMOOTHING, signal.lfilter(*SMOOTHING, held)[::-1])[::-1]
        result[section] = twice[1_000:-1_000]
    np.testing.assert_allclose(smoothed(contour), result, rtol=1e-13)
