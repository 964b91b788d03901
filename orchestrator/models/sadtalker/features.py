"""What SadTalker hears: mel windows at 25 video frames per second, and the lids' movement, which
speech does not tell.

Source: OpenTalker/SadTalker, `src/generate_batch.py` and `src/utils/hparams.py`.
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
"""50 ms Hann window, 80 frames per second; Wav2Lip's."""

FPS: Final = 25
SAMPLES_PER_FRAME: Final = 640
MEL_FRAMES_PER_S: Final = 80.0
WINDOW_FRAMES: Final = 16

BLINK: Final = (0.5, 0.9, 1.0, 0.9, 0.5)
"""How far the lids close in the five video frames of a blink."""

SHORTEST_WITH_BLINKS: Final = 22
"""Video frames; at 21 upstream has nowhere to put a blink and fails, below it draws none."""


def frame_count(samples: int) -> int:
    """Whole video frames of 16 kHz audio; what is left over is not spoken."""
    return samples // SAMPLES_PER_FRAME


def window_starts(frames: int) -> NDArray[np.int64]:
    """First mel frame of each video frame's window, as upstream truncates it (toward zero): -6, -3,
    0, 3, 6, 9, ...
    """
    return (MEL_FRAMES_PER_S * ((np.arange(frames) - 2) / float(FPS))).astype(np.int64)


def mel_windows(mel: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Network inputs `[frames, 1, 80, 16]` from mel frames `[m, 80]`; the first and last stand for
    what lies outside.
    """
    rows = window_starts(frames)[:, None] + np.arange(WINDOW_FRAMES)
    return np.ascontiguousarray(mel[rows.clip(0, len(mel) - 1)].transpose(0, 2, 1)[:, None])


def blink_ratio(frames: int, random: Random) -> NDArray[np.float32]:
    """How far the lids are closed, `[frames]`, 0..1; blinks come at intervals drawn from
    `random`.
    """
    ratio = np.zeros(frames, np.float32)
    if frames < SHORTEST_WITH_BLINKS:
        return ratio
    pauses, position = range(10, min(frames // 2, 70)), 0
    while (start := position + random.choice(pauses)) + len(BLINK) <= frames - 1:
        position = start + len(BLINK)
        ratio[start:position] = BLINK
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
