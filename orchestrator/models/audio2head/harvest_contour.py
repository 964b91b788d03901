"""Pitch contour from candidates: the second half of WORLD's harvest.

It decides which steps are voiced.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.models.audio2head.filters import zero_phase_kernel

STRAY_CHANGE: Final = 0.05
"""A candidate is dropped without a neighbour (1 ms before or after) within this relative change."""
STEADY_CHANGE: Final = 0.008
"""Largest relative change in 1 ms of the first contour."""
MIN_SECTION_STEPS: Final = 6
EXTEND_STEPS: Final = 100
EXTEND_CHANGE: Final = 0.18
EXTEND_MISSES: Final = 4
MIN_PERIODS: Final = 2.2
"""Least length of a section in periods (steps are milliseconds)."""
BRIDGED_STEPS: Final = 9
SMOOTHING: Final = (
    (0.0078202080334971724, 0.015640416066994345, 0.0078202080334971724),
    (1.0, -1.7347257688092754, 0.76600660094326412),
)
"""Second-order low-pass (b, a), run forward and backward over each section."""
SMOOTHING_TAPS: Final = 301
"""Length of its impulse response, which has fallen by 1e-17 there."""

Array = NDArray[np.float64]
Section = tuple[int, int]
"""First and last step of a voiced stretch."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Possible pitches of each step."""

    pitch_hz: Array
    """`[steps, n]`, zero where there is none."""
    score: Array
    """`[steps, n]`: inverse of the harmonics' mean deviation."""


@dataclass(slots=True)
class _Track:
    """One voiced section as a separate contour."""

    pitch_hz: Array
    first: int
    last: int


def without_strays(candidates: Candidates) -> Candidates:
    """Drop candidates without a similar one before or after; the first and last step stay."""
    pitch = candidates.pitch_hz
    lost = np.zeros(pitch.shape, bool)
    for column in range(pitch.shape[1]):
        own = pitch[1:-1, column]
        change = np.minimum(
            *(np.abs(own[:, None] - other).min(axis=1) for other in (pitch[2:], pitch[:-2]))
        )
        lost[1:-1, column] = (own > 0) & (change > STRAY_CHANGE * own)
    return Candidates(np.where(lost, 0.0, pitch), np.where(lost, 0.0, candidates.score))


def best_contour(candidates: Candidates) -> Array:
    """One pitch per step `[steps]`, zero where unvoiced."""
    steps = np.arange(len(candidates.pitch_hz))
    best = candidates.pitch_hz[steps, candidates.score.argmax(axis=1)]
    return _bridged(_merged(_without_short(_steady(best)), candidates))


def smoothed(contour: Array) -> Array:
    """Low-pass each section, held constant beyond its ends meanwhile."""
    kernel, result = zero_phase_kernel(*SMOOTHING, SMOOTHING_TAPS), np.zeros(len(contour) + 2)
    for first, last in _sections(np.pad(contour, 1)):
        held = np.pad(contour[first - 1 : last], SMOOTHING_TAPS - 1, mode="edge")
        result[first : last + 1] = np.convolve(held, kernel, mode="valid")
    return result[1:-1]


def _sections(contour: Array) -> list[Section]:
    voiced = contour > 0
    voiced[[0, -1]] = False
    edges = np.flatnonzero(np.diff(voiced.astype(np.int8)))
    return [(int(begin) + 1, int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def _steady(contour: Array) -> Array:
    """Mark steps unvoiced where the pitch neither continues linearly nor stays."""
    steady = np.zeros(len(contour))
    current, before, earlier = contour[2:], contour[1:-1], contour[:-2]
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = 2 * before - earlier
        jumps = (np.abs((current - expected) / expected) > STEADY_CHANGE) & (
            np.abs((current - before) / before) > STEADY_CHANGE
        )
    steady[2:] = np.where(jumps, 0.0, current)
    return steady


def _without_short(contour: Array) -> Array:
    kept = contour.copy()
    for first, last in _sections(contour):
        if last - first < MIN_SECTION_STEPS:
            kept[first : last + 1] = 0.0
    return kept


def _merged(contour: Array, candidates: Candidates) -> Array:
    """Sections grown along their candidates, long ones overlaid in order of their start."""
    tracks = [
        track
        for section in _sections(contour)
        if _lasting(track := _grown(contour, section, candidates))
    ]
    if not tracks:
        return np.zeros(len(contour))
    merged, begin, end = tracks[0].pitch_hz.copy(), tracks[0].first, tracks[0].last
    for track in sorted(tracks, key=lambda track: track.first)[1:]:
        if track.first > end:
            begin, end = track.first, track.last
            merged[begin : end + 1] = track.pitch_hz[begin : end + 1]
        elif not (begin <= track.first and end >= track.last):
            overlap = range(track.first, end + 1)
            from_step = (
                end
                if _score(merged, overlap, candidates) > _score(track.pitch_hz, overlap, candidates)
                else track.first
            )
            merged[from_step : track.last + 1] = track.pitch_hz[from_step : track.last + 1]
            end = track.last
    return merged


def _grown(contour: Array, section: Section, candidates: Candidates) -> _Track:
    first, last = section
    pitch = np.zeros(len(contour))
    pitch[first : last + 1] = contour[first : last + 1]
    new_last = _follow(pitch, last, min(len(contour) - 2, last + EXTEND_STEPS), 1, candidates)
    new_first = _follow(pitch, first, max(1, first - EXTEND_STEPS), -1, candidates)
    return _Track(pitch, new_first, new_last)


def _follow(pitch: Array, origin: int, limit: int, direction: int, candidates: Candidates) -> int:
    """Continue from step to step to the nearest candidate, until four in a row have none.

    Returns the last step that had one.
    """
    reference, reached, misses = pitch[origin], origin, 0
    for step in range(origin + direction, limit + 2 * direction, direction):
        options = candidates.pitch_hz[step]
        change = np.abs(reference - options) / reference
        # the last of equally near ones, as in a search that replaces on equality
        best = len(options) - 1 - int(change[::-1].argmin())
        pitch[step] = options[best] if change[best] <= EXTEND_CHANGE else 0.0
        if pitch[step] > 0:
            reference, reached, misses = pitch[step], step, 0
        else:
            misses += 1
        if misses == EXTEND_MISSES:
            break
    return reached


def _lasting(track: _Track) -> bool:
    steps = track.last - track.first
    return steps > 0 and steps > 1000.0 * MIN_PERIODS / float(
        track.pitch_hz[track.first : track.last].mean()
    )


def _score(pitch: Array, steps: range, candidates: Candidates) -> float:
    chosen = slice(steps.start, steps.stop)
    same = candidates.pitch_hz[chosen] == pitch[chosen, None]
    return float(np.where(same, candidates.score[chosen], 0.0).max(axis=1, initial=0.0).sum())


def _bridged(contour: Array) -> Array:
    """Fill short gaps linearly.

    From 1 Hz above the end before to 1 Hz below the beginning after.
    """
    bridged, sections = contour.copy(), _sections(contour)
    for (_, last), (first, _) in pairwise(sections):
        gap = first - last - 1
        if gap < BRIDGED_STEPS:
            low, high = contour[last] + 1.0, contour[first] - 1.0
            bridged[last + 1 : first] = low + (high - low) / (gap + 1.0) * np.arange(1, gap + 1)
    return bridged
