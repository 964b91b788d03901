"""Head motion of a live turn: SadTalker's chunks of 32 rows, joined without jumps.

Each chunk is computed from the 1.28 s of audio before it. Upstream computes a chunk from its own
audio, which would cost 1.3 s of look-ahead more. The head's position matters little for lip sync,
so a chunk uses the audio known when its first row is needed: row j moves as upstream's row j - 37,
1.48 s late.

Chunks begin at the same rows as upstream's, the noise is drawn anew for each, and the same filter
smooths their joints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.models.sadtalker.pose import CHUNK, SMOOTHING_FRAMES, parabola_fit
from orchestrator.models.sadtalker.timing import Moment, row_times_s
from orchestrator.rendering.idle import idle_motion

SMOOTHING_REACH: Final = SMOOTHING_FRAMES // 2

DELAY_ROWS: Final = 37
"""Rows from a chunk's audio to its motion.

Its last row's, less the smoothing's reach, is the last that its first frame knows.
"""

NOISE: Final = 64
POSE: Final = 6

RADIANS_PER_SHIFT: Final = 4.0
"""Rotation in radians for a shift by the image's side: a head's radius is about a quarter of it."""

Chunks = Mapping[int, NDArray[np.float32]]
"""Motions `[32, 6]` by number of the chunk.

Chunk c moves rows `32 c + 1 .. 32 c + 32`; row 0 and those before it are the photo's.
"""


@dataclass(frozen=True, slots=True, eq=False)
class NewChunks:
    """Chunks that a call needs and that are not known yet."""

    resting: dict[int, NDArray[np.float32]]
    """Those first needed in silence: idle sway without the network."""
    numbers: tuple[int, ...]
    mel: NDArray[np.float32]
    """`[n, 32, 16, 80]`."""
    noise: NDArray[np.float32]
    """`[n, 64]`."""


def new_chunks(known: Chunks, frames: Sequence[Moment], seed: int) -> NewChunks:
    """Chunks to compute, each from the first frame that needs it."""
    resting: dict[int, NDArray[np.float32]] = {}
    spoken: dict[int, NDArray[np.float32]] = {}
    for frame in frames:
        for chunk in _needed(frame):
            if chunk in known or chunk in resting or chunk in spoken:
                continue
            rows = chunk_rows(chunk)
            if frame.silent:
                resting[chunk] = sway(row_times_s(rows, frame.began_s), seed)
            else:
                spoken[chunk] = frame.mel_windows(rows - DELAY_ROWS)
    noise = [chunk_noise(seed, frames[0].began_s, chunk) for chunk in spoken]
    return NewChunks(
        resting,
        tuple(spoken),
        np.stack(list(spoken.values())) if spoken else np.zeros((0, CHUNK, 16, 80), np.float32),
        np.stack(noise) if noise else np.zeros((0, NOISE), np.float32),
    )


def motions(chunks: Chunks, begin: int, end: int) -> NDArray[np.float32]:
    """Smoothed motions `[end - begin, 6]` of rows `begin .. end - 1`.

    Relative to the photo's pose.
    """
    rows = np.arange(begin - SMOOTHING_REACH, end + SMOOTHING_REACH)
    raw = np.zeros((len(rows), POSE))
    for index, row in enumerate(rows.tolist()):
        if row > 0:
            raw[index] = chunks[(row - 1) // CHUNK][(row - 1) % CHUNK]
    windows = np.lib.stride_tricks.sliding_window_view(raw, SMOOTHING_FRAMES, axis=0)
    smooth: NDArray[np.float32] = (
        windows @ parabola_fit(SMOOTHING_FRAMES)[SMOOTHING_REACH]
    ).astype(np.float32)
    return smooth


def still_needed(chunks: Chunks, begin: int) -> dict[int, NDArray[np.float32]]:
    """The chunks that rows from `begin` on may need."""
    return {
        number: motion
        for number, motion in chunks.items()
        if CHUNK * (number + 1) >= begin - SMOOTHING_REACH
    }


def chunk_rows(chunk: int) -> NDArray[np.int64]:
    """The rows that a chunk moves."""
    return np.arange(1 + CHUNK * chunk, 1 + CHUNK * (chunk + 1))


def chunk_noise(seed: int, began_s: float, chunk: int) -> NDArray[np.float32]:
    """Standard normal noise `[64]`.

    Deterministic in the face, the beginning of the turn and the chunk; different for different
    ones.
    """
    samples = max(0, round(began_s * 16000.0))
    return np.random.default_rng((seed, samples, chunk)).standard_normal(NOISE).astype(np.float32)


def sway(times_s: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """Motion `[n, 6]` of a listening head: pitch, yaw and roll in radians.

    As slow and slight as in the other models' idle.
    """
    idle = idle_motion(times_s, seed)
    motion = np.zeros((len(times_s), POSE), np.float32)
    motion[:, 0], motion[:, 1], motion[:, 2] = (
        RADIANS_PER_SHIFT * idle[:, 2],
        RADIANS_PER_SHIFT * idle[:, 1],
        idle[:, 3],
    )
    return motion


def _needed(frame: Moment) -> range:
    first, last = frame.begin - SMOOTHING_REACH, frame.end - 1 + SMOOTHING_REACH
    return range(max(0, first - 1) // CHUNK, max(0, last - 1) // CHUNK + 1)
