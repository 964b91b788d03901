"""Audio inputs of SadTalker: mel windows at 25 video frames per second, and blinks.

Blinks are drawn at random, since speech does not determine them. Source: OpenTalker/SadTalker,
`src/generate_batch.py` and `src/utils/hparams.py`.
"""

from __future__ import annotations

from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import MelScale, MelSpec

MEL: Final = MelSpec(
    n_mels=80,
    n_fft=800,
    win_length=800,
    hop_length=200,
    fmin_hz=55.0,
    fmax_hz=7600.0,
    scale=MelScale.DECIBEL,
)
"""50 ms Hann window, 80 frames per second; the same as Wav2Lip's."""

FPS: Final = 25
SAMPLES_PER_FRAME: Final = 640
MEL_FRAMES_PER_S: Final = 80.0
WINDOW_FRAMES: Final = 16

BLINK_CLOSURES: Final = (0.5, 0.9, 1.0, 0.9, 0.5)
"""Closure of the lids in the five video frames of a blink."""

MIN_FRAMES_WITH_BLINKS: Final = 22
"""Video frames; at 21 upstream has no place for a blink and fails, below it has none."""


def frame_count(samples: int) -> int:
    """Whole video frames of 16 kHz audio; a remainder is dropped."""
    return samples // SAMPLES_PER_FRAME


def window_starts(frames: int) -> NDArray[np.int64]:
    """First mel frame of each video frame's window, truncated toward zero as in upstream.

    -6, -3, 0, 3, 6, 9, ...
    """
    return (MEL_FRAMES_PER_S * ((np.arange(frames) - 2) / float(FPS))).astype(np.int64)


def mel_windows(mel: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Network inputs `[frames, 1, 80, 16]` from mel frames `[m, 80]`.

    The first and last are repeated outside.
    """
    rows = window_starts(frames)[:, None] + np.arange(WINDOW_FRAMES)
    return np.ascontiguousarray(mel[rows.clip(0, len(mel) - 1)].transpose(0, 2, 1)[:, None])


def blink_ratio(frames: int, random: Random) -> NDArray[np.float32]:
    """Closure of the lids, `[frames]`, 0..1.

    Blinks come at intervals drawn from `random`.
    """
    ratio = np.zeros(frames, np.float32)
    if frames < MIN_FRAMES_WITH_BLINKS:
        return ratio
    pauses, position = range(10, min(frames // 2, 70)), 0
    while (start := position + random.choice(pauses)) + len(BLINK_CLOSURES) <= frames - 1:
        position = start + len(BLINK_CLOSURES)
        ratio[start:position] = BLINK_CLOSURES
    return ratio


def reference_rows(
    source: NDArray[np.float32], frames: int, blinking: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The photo's coefficients `[>= 70]` for every frame, `[frames, 70]`.

    `blinking` are coefficients `[n, >= 64]` of a filmed face: its expression replaces the photo's,
    repeated as often as needed.
    """
    rows = np.repeat(source[None, :70], frames, axis=0)
    if blinking is not None:
        rows[:, :64] = blinking[np.arange(frames) % len(blinking), :64]
    return rows
