"""Agreement of predicted lips with the rule-made ones: correlation, hit and false closures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from export.audio2motion.phones import gestures
from export.audio2motion.speech import Phone
from export.audio2motion.targets import FRAME_S, bilabial_times_s, targets_of
from orchestrator.rendering.motion import aperture

MAX_SHUT_APERTURE: Final = 0.12
"""Aperture under which lips count as shut."""
NEAR_S: Final = 0.04
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ClipScore:
    """Score of one clip.

    Pearson's r of the aperture; closures hit of those required; shut moments in speech, and the
    false ones.
    """

    r: float
    closures_hit: int
    closures: int
    closures_hit_25_fps: int
    shut_runs: int
    false_runs: int
    lag_ms: float


@dataclass(frozen=True, slots=True)
class Score:
    """The mean of `r` over clips; the shares over all events of all clips."""

    r: float
    closure_recall: float
    closure_recall_25_fps: float
    false_closures: float
    lag_ms: float
    clips: int


def score_clip(mouth: Array, phones: Sequence[Phone]) -> ClipScore:
    """Score mouth parameters `[frames, 7]` at 100 Hz against the phones' own curves."""
    gap, truth = aperture(mouth), aperture(targets_of(phones, len(mouth)).mouth)
    at_video_rate = np.repeat(gap[2::4], 4)[: len(gap)]
    events = [round(time_s / FRAME_S) for time_s in bilabial_times_s(phones)]
    shut_runs, false_runs = _runs(gap, phones)
    return ClipScore(
        r=_pearson(gap, truth),
        closures_hit=_hits(gap, events),
        closures=len(events),
        closures_hit_25_fps=_hits(at_video_rate, events),
        shut_runs=shut_runs,
        false_runs=false_runs,
        lag_ms=_lag_ms(gap, truth),
    )


def total(scores: Sequence[ClipScore]) -> Score:
    """The score of a whole test set."""
    closures = max(1, sum(s.closures for s in scores))
    return Score(
        r=float(np.mean([s.r for s in scores])),
        closure_recall=sum(s.closures_hit for s in scores) / closures,
        closure_recall_25_fps=sum(s.closures_hit_25_fps for s in scores) / closures,
        false_closures=sum(s.false_runs for s in scores) / max(1, sum(s.shut_runs for s in scores)),
        lag_ms=float(np.mean([s.lag_ms for s in scores])),
        clips=len(scores),
    )


def speech_mask(phones: Sequence[Phone], frames: int) -> NDArray[np.bool_]:
    """True where a phone sounds."""
    mask = np.zeros(frames, bool)
    for phone in phones:
        if gestures(phone.symbol)[0].viseme != "sil":
            mask[round(phone.start_s / FRAME_S) : round(phone.end_s / FRAME_S)] = True
    return mask


def _hits(gap: Array, events: Sequence[int]) -> int:
    near = round(NEAR_S / FRAME_S)
    lowest = minimum_filter1d(gap, 2 * near + 1, mode="nearest")
    return int(sum(lowest[min(event, len(gap) - 1)] < MAX_SHUT_APERTURE for event in events))


def _runs(gap: Array, phones: Sequence[Phone]) -> tuple[int, int]:
    """Shut moments of 20 ms or more that touch speech, and the unjustified ones of them.

    Unjustified: without a bilabial, f/v or pause near.
    """
    reason = np.zeros(len(gap), bool)
    margin = round(NEAR_S / FRAME_S)
    for phone in phones:
        if {gesture.viseme for gesture in gestures(phone.symbol)} & {"PP", "FF", "sil"}:
            reason[
                max(0, round(phone.start_s / FRAME_S) - margin) : round(phone.end_s / FRAME_S)
                + margin
            ] = True
    speech = speech_mask(phones, len(gap))
    edges = np.flatnonzero(
        np.diff(np.concatenate([[False], (gap < MAX_SHUT_APERTURE) & speech, [False]]))
    )
    runs = [
        (start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end - start >= 2
    ]
    return len(runs), sum(not reason[start:end].any() for start, end in runs)


def _pearson(a: Array, b: Array) -> float:
    if a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _lag_ms(gap: Array, truth: Array, max_lag_frames: int = 12) -> float:
    """Shift of the prediction that fits best; positive if the image is late."""
    lags = range(-max_lag_frames, max_lag_frames + 1)
    fits = [
        _pearson(
            gap[max(0, lag) : len(gap) + min(0, lag)], truth[max(0, -lag) : len(gap) - max(0, lag)]
        )
        for lag in lags
    ]
    return float(lags[int(np.argmax(fits))] * FRAME_S * 1000)
