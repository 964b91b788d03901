"""Assignment of video frames to Audio2Head's chunks of 64 frames, and the inputs of a chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Row = TypeVar("Row", np.float32, np.uint8)

CHUNK_FRAMES: Final = 64
"""Frames per run of the network (25 per second)."""
CHUNK_STEP: Final = 32
CHUNK_MARGIN: Final = 16
"""Frames at each end of a chunk that are taken from a neighbour, which has more context."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames `first .. first + 63` of one run of the network."""

    first: int
    """Video frame of local frame 0."""
    kept: range
    """Local frames that are taken from this chunk."""


def chunks(frames: int) -> tuple[Chunk, ...]:
    """All chunks of an utterance of `frames` video frames; each frame is kept by exactly one."""
    return tuple(
        _chunk(first, frames)
        for first in range(0, frames, CHUNK_STEP)
        if first == 0 or first + CHUNK_MARGIN < frames
    )


def _chunk(first: int, frames: int) -> Chunk:
    begin = 0 if first == 0 else CHUNK_MARGIN
    return Chunk(first, range(begin, min(CHUNK_FRAMES - CHUNK_MARGIN, frames - first)))


def chunk_audio(blocks: NDArray[np.float32], chunk: Chunk) -> NDArray[np.float32]:
    """Audio blocks `[64, 4, 41]` of the chunk out of `[frames, 4, 41]`; zeros after the end."""
    shown = np.zeros((CHUNK_FRAMES, *blocks.shape[1:]), np.float32)
    own = blocks[chunk.first : chunk.first + CHUNK_FRAMES]
    shown[: len(own)] = own
    return shown


def chunk_poses(poses: NDArray[Row], chunk: Chunk) -> NDArray[Row]:
    """Poses or their images `[64, ...]` of the chunk out of `[frames + 1, ...]`.

    The last one is repeated after the end.
    """
    index = np.minimum(np.arange(chunk.first, chunk.first + CHUNK_FRAMES), len(poses) - 1)
    chosen: NDArray[Row] = poses[index]
    return chosen
