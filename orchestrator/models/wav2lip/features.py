"""Audio inputs of Wav2Lip: its training's mel, and the 200 ms of it for a video frame."""

from __future__ import annotations

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
"""50 ms Hann window, 80 frames per second."""

WINDOW_FRAMES: Final = 16

AHEAD_FRAMES: Final = 10
"""Mel frames of a live window past the video frame's centre.

150 ms of audio with the reach of the last one, 175 ms from the start of a frame of 20 fps.

The window then starts 5 mel frames (62.5 ms) before the centre. In training it started one video
frame of 40 ms before the frame's own start, which is 60 ms before its centre. Upstream's inference
starts 40 ms later, for 40 ms more look-ahead.
"""

MEL_FRAMES_PER_S: Final = 80.0


def chunk_starts(mel_frames: int, fps: float) -> NDArray[np.int32]:
    """First mel frame of each video frame's window, as in upstream's inference on a whole file.

    The first window that would pass the end is replaced by the last `WINDOW_FRAMES` and ends the
    list. ValueError for less audio than one window.
    """
    if mel_frames < WINDOW_FRAMES:
        raise ValueError(
            f"{mel_frames} mel frames are fewer than a window of {WINDOW_FRAMES}: "
            "pad the audio to 3000 samples"
        )
    last = mel_frames - WINDOW_FRAMES
    most = int(mel_frames * fps / MEL_FRAMES_PER_S) + 2
    # Multiplied in upstream's order: another rounding would move a window at some frame rates.
    starts = (np.arange(most) * (MEL_FRAMES_PER_S / fps)).astype(np.int32)
    return np.append(starts[starts <= last], np.int32(last))
