"""Mouth curves from phone times by a dominance model.

Each phone pulls the lips towards its viseme, strong ones harder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from export.audio2motion.phones import Gesture, gestures
from export.audio2motion.speech import Phone
from orchestrator.rendering.motion import MOUTH_PARAMETERS, VISEMES

FRAME_S: Final = 0.01
VISEME_NAMES: Final = tuple(VISEMES)
BLEND_MS: Final = {
    "jaw": 36,
    "open": 30,
    "wide": 44,
    "round": 50,
    "closed": 16,
    "tuck": 20,
    "teeth": 26,
}
"""Width (standard deviation) of the blend between neighbours, per mouth parameter.

Lips are quicker than the jaw.
"""
_OVERSAMPLING: Final = 5
_CLOSING_PULL: Final = {"closed": 3.0, "tuck": 2.0}
"""Extra pull of closing phones on the parameter that closes the lips.

A short /b/ thus still shuts fully.
"""
_MAX_JOINT_PAUSE_S: Final = 0.06
"""Pauses shorter than this are joints between words: the mouth does not come to rest."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets of a clip at 100 Hz: `mouth [frames, 7]`, `viseme [frames]`.

    The viseme is an index in `VISEME_NAMES`.
    """

    mouth: NDArray[np.float32]
    viseme: NDArray[np.uint8]


def targets_of(phones: Sequence[Phone], frames: int) -> Targets:
    """Targets of `frames` frames 10 ms apart.

    Frame i is at i * 10 ms, the centre of log-mel frame i.
    """
    fine = frames * _OVERSAMPLING
    viseme = np.zeros(fine, np.uint8)
    dominance = np.full(fine, 1.5)
    for gesture, start_s, end_s in _timed_gestures(phones):
        span = slice(_fine_index(start_s), max(_fine_index(start_s) + 1, _fine_index(end_s)))
        viseme[span] = VISEME_NAMES.index(gesture.viseme)
        dominance[span] = gesture.dominance
    table = np.array([VISEMES[name] for name in VISEME_NAMES])
    curves = []
    for column, name in enumerate(MOUTH_PARAMETERS):
        values = table[viseme, column]
        curves.append(
            _blend(
                values,
                dominance * np.where(values > 0.9, _CLOSING_PULL.get(name, 1.0), 1.0),
                BLEND_MS[name],
            )
        )
    middle = slice(_OVERSAMPLING // 2, None, _OVERSAMPLING)
    return Targets(np.stack(curves, axis=1)[middle].astype(np.float32), viseme[middle])


def bilabial_times_s(phones: Sequence[Phone]) -> list[float]:
    """The middle of every phone that shuts the lips."""
    return [
        (start + end) / 2
        for gesture, start, end in _timed_gestures(phones)
        if gesture.viseme == "PP"
    ]


def _fine_index(seconds: float) -> int:
    """Fine sample of an instant; frame i's own instant is the middle one of its five."""
    return max(0, round(seconds / FRAME_S * _OVERSAMPLING) + _OVERSAMPLING // 2)


def _timed_gestures(phones: Sequence[Phone]) -> list[tuple[Gesture, float, float]]:
    timed = []
    for phone in phones:
        now_s = phone.start_s
        for gesture in gestures(phone.symbol):
            end_s = now_s + gesture.share * (phone.end_s - phone.start_s)
            if gesture.viseme == "sil" and end_s - now_s < _MAX_JOINT_PAUSE_S:
                gesture = Gesture("sil", gesture.share, 0.3)
            timed.append((gesture, now_s, end_s))
            now_s = end_s
    return timed


def _blend(
    values: NDArray[np.float64], dominance: NDArray[np.float64], blend_ms: float
) -> NDArray[np.float64]:
    sigma = blend_ms / (FRAME_S * 1000) * _OVERSAMPLING
    pull: NDArray[np.float64] = gaussian_filter1d(values * dominance, sigma, mode="nearest")
    return pull / gaussian_filter1d(dominance, sigma, mode="nearest")
