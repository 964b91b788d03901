"""Scores of a measured lip gap against the true mouth: correlation, closures, offset, stillness.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.true_mouth import Curve, TrueMouth

SHUT_BELOW: Final = 0.15
"""Lips count as shut below this share of the gap's range in the clip."""
_MAX_OFFSET_S: Final = 0.2
_OFFSET_STEP_S: Final = 0.005
_SETTLED_S: Final = 0.2
"""Silence counts from this long after speech to this long before it."""


@dataclass(frozen=True, slots=True)
class LipScore:
    """One clip's numbers; NaN where the clip has nothing to measure."""

    corr: float
    corr_in_speech: float
    closure_recall: float
    """Share of the phones p, b and m with shut lips within one frame."""
    closure_chance: float
    """Share of all frames of speech with shut lips nearby: the recall expected for random times."""
    offset_ms: float
    """Offset of the picture; positive when it is ahead of the sound."""
    silence_motion: float
    """Spread of the gap in silence over its spread in speech."""
    shut_after_ms: float
    """Time from the end of speech until the lips stay shut."""


def score(gap: Curve, mouth: TrueMouth, fps: float) -> LipScore:
    """Score `gap` `[frames]`, in any unit, of frames whose centres lie at `(k + 0.5) / fps`."""
    times_s = (np.arange(len(gap), dtype=np.float64) + 0.5) / fps
    truth = mouth.at(times_s, mouth.aperture)
    speaks = mouth.speaks_at(times_s)
    recall, chance = _closures(gap, mouth, speaks, fps)
    return LipScore(
        corr=correlation(gap, truth),
        corr_in_speech=correlation(gap[speaks], truth[speaks]),
        closure_recall=recall,
        closure_chance=chance,
        offset_ms=_offset_ms(gap, mouth, times_s),
        silence_motion=_silence_motion(gap, mouth, times_s),
        shut_after_ms=_shut_after_ms(gap, mouth, times_s),
    )


def mean_score(scores: Sequence[LipScore]) -> LipScore:
    """The mean of every number over the clips that have it."""
    return LipScore(
        *(_mean([getattr(one, field.name) for one in scores]) for field in fields(LipScore))
    )


def spread(gap: Curve) -> float:
    """Range of the lips' motion: 5th to 95th percentile of the gap."""
    low, high = np.percentile(gap, [5, 95])
    return float(high - low)


def correlation(a: Curve, b: Curve) -> float:
    """Pearson correlation of two curves; 0 for a constant curve."""
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / power if power > 1e-12 else 0.0


def _threshold(gap: Curve) -> float:
    return float(np.percentile(gap, 5)) + SHUT_BELOW * spread(gap)


def _closures(
    gap: Curve, mouth: TrueMouth, speaks: NDArray[np.bool_], fps: float
) -> tuple[float, float]:
    """Recall at the closures, and its expectation for random times of speech."""
    padded = np.pad(gap, 1, mode="edge")
    shut_nearby = np.minimum(np.minimum(padded[:-2], padded[1:-1]), padded[2:]) < _threshold(gap)
    events = [min(len(gap) - 1, int(time_s * fps)) for time_s in mouth.closures_s]
    if not events:
        return np.nan, np.nan
    return float(shut_nearby[events].mean()), float(shut_nearby[speaks].mean())


def _offset_ms(gap: Curve, mouth: TrueMouth, times_s: Curve) -> float:
    """The best-fitting shift of the true curve; a parabola interpolates between the 5 ms steps."""
    shifts = np.arange(-_MAX_OFFSET_S, _MAX_OFFSET_S + 1e-9, _OFFSET_STEP_S)
    fits = np.array(
        [correlation(gap, mouth.at(times_s + shift, mouth.aperture)) for shift in shifts]
    )
    best = int(np.argmax(fits))
    if not 0 < best < len(shifts) - 1:
        return float(shifts[best] * 1000)
    left, middle, right = fits[best - 1 : best + 2]
    return float(
        (shifts[best] + _OFFSET_STEP_S * 0.5 * (left - right) / (left - 2 * middle + right)) * 1000
    )


def _silence_motion(gap: Curve, mouth: TrueMouth, times_s: Curve) -> float:
    settled = np.ones(len(gap), np.bool_)
    for shift in np.arange(-_SETTLED_S, _SETTLED_S + 1e-9, 0.02):
        settled &= ~mouth.speaks_at(times_s + shift)
    in_speech = spread(gap[mouth.speaks_at(times_s)])
    return spread(gap[settled]) / in_speech if settled.sum() >= 5 and in_speech > 0 else np.nan


def _shut_after_ms(gap: Curve, mouth: TrueMouth, times_s: Curve) -> float:
    is_open = (gap >= _threshold(gap)) & (times_s > mouth.speech_end_s)
    if not is_open.any():
        return 0.0
    half_frame_s = (times_s[1] - times_s[0]) / 2
    return float((times_s[is_open][-1] + half_frame_s - mouth.speech_end_s) * 1000)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
