"""Audio2Head's features in a live turn: upstream hears a whole file, here each frame brings a
window of a few seconds.

What upstream takes from the whole file is taken from what was heard of the turn so far: its mean
and its largest value, and the pitch contour, which is sought in stretches with some sound around
them (docs/models.md has the differences measured).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import WaveformSpec
from orchestrator.models.audio2head.features import (
    CEPSTRA,
    FILTERS,
    FRAME_SAMPLES,
    HOP_SAMPLES,
    ROW_VALUES,
    ROWS_PER_FRAME,
    cepstra_and_filters,
    filled,
)
from orchestrator.models.audio2head.harvest_pitch import harvest
from orchestrator.models.base import AudioWindow

SOUND: Final = WaveformSpec(hop_length=ROWS_PER_FRAME * HOP_SAMPLES)
"""A row is the sound of one video frame at 25 fps, of which the networks hear a block of four rows
of features.
"""

CONTEXT_BEHIND: Final = 8
CONTEXT_AHEAD: Final = 2
"""Blocks of sound around those whose features are computed. Over five synthetic voices 0.5 % of the
rows then change between voiced and unvoiced against the whole file's, 0.6 % differ by more than 1
Hz; with twice as much around them it is 0.4 % and 0.4 %.
"""

STRETCH: Final = 16
"""Blocks that are computed at once, so that the sound around them is not paid for again with every
frame.
"""

AHEAD: Final = 50
"""A frame that is the first of its chunk is shown 47 blocks past its own (`audio2head_chunks`),
another one where it lies between two frames of 25 fps, and those need `CONTEXT_AHEAD`; counted from
the row of the frame's centre.
"""

BEHIND: Final = 56
"""The last frame of a chunk is shown 47 blocks before its own, and one where it lies between two;
and `CONTEXT_BEHIND`.
"""

WINDOW: Final = AudioWindow(frames=BEHIND + 1 + AHEAD, ahead_frames=AHEAD)

KEPT_BLOCKS: Final = 128
"""More than two neighbouring chunks hear."""

QUIETEST_PEAK: Final = 0.02
"""Of full scale; a turn that has not been louder yet is not made louder than this would be: it may
be the noise before the speech.
"""

FULL_SCALE: Final = 32768.0
LOUDNESS: Final = [0, *range(CEPSTRA, CEPSTRA + FILTERS)]
PITCH: Final = ROW_VALUES - 2
"""Columns of a row: logarithms of power, and Hz."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """The turn's sound around one frame."""

    first: int
    """Block of the turn that `samples` begin with."""
    samples: NDArray[np.float64]
    """16 kHz in the steps of 16 bits, without the silence at the end if nothing follows it."""
    end: int
    """One past the last block that can be heard."""
    ended: bool
    """Whether nothing but digital silence follows, as far as is known."""


@dataclass(frozen=True, slots=True)
class Level:
    """Of all samples heard in the turn."""

    end: int = 0
    """One past the last sample counted."""
    count: int = 0
    total: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0

    @property
    def mean(self) -> float:
        """Direct current, in steps of 16 bits."""
        return self.total / self.count if self.count else 0.0

    @property
    def peak(self) -> float:
        """Largest distance from the mean."""
        return max(self.highest - self.mean, self.mean - self.lowest, QUIETEST_PEAK * FULL_SCALE)

    def with_sound(self, sound: Sound) -> Level:
        """The same with what is new in `sound`."""
        start = sound.first * SOUND.hop_length
        new = sound.samples[max(0, self.end - start) :]
        if not len(new):
            return self
        lowest, highest = min(self.lowest, float(new.min())), max(self.highest, float(new.max()))
        return Level(
            start + len(sound.samples),
            self.count + len(new),
            self.total + float(new.sum()),
            lowest,
            highest,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Features of consecutive blocks."""

    first: int
    rows: NDArray[np.float64]
    """`[4 * blocks, 41]`: as if the largest sample were one step of 16 bits, pitch zero where
    unvoiced.
    """
    level: Level

    @property
    def end(self) -> int:
        """One past the last block."""
        return self.first + len(self.rows) // ROWS_PER_FRAME

    def blocks(self, begin: int, end: int) -> NDArray[np.float32]:
        """`[end - begin, 4, 41]` as the networks hear them, at the turn's present level."""
        pitch_hz = filled(self.rows[:, PITCH])
        wanted = slice((begin - self.first) * ROWS_PER_FRAME, (end - self.first) * ROWS_PER_FRAME)
        rows = self.rows[wanted].copy()
        rows[:, LOUDNESS] -= 2.0 * np.log(self.level.peak)
        rows[:, PITCH] = pitch_hz[wanted]
        return rows.astype(np.float32).reshape(-1, ROWS_PER_FRAME, ROW_VALUES)


def sound_around(rows: NDArray[np.float32], slot: int) -> Sound:
    """What a window `[107, 640]` around the block `slot` holds of the turn."""
    first = max(0, slot - BEHIND)
    samples = np.rint(rows[first - (slot - BEHIND) :].reshape(-1) * FULL_SCALE).astype(np.float64)
    known = slot + 1 + AHEAD - CONTEXT_AHEAD
    last = np.flatnonzero(samples)[-1:]
    sounding = samples[: int(last[0]) + 1] if len(last) else samples[:0]
    total = first + block_count(len(sounding))
    return (
        Sound(first, sounding, total, True)
        if total < known
        else Sound(first, samples, known, False)
    )


def block_count(samples: int) -> int:
    """Blocks of a whole utterance: what upstream's features have rows for."""
    rows = min(1 + max(0, -(-(samples - FRAME_SAMPLES) // HOP_SAMPLES)), 1 + samples // HOP_SAMPLES)
    return rows // ROWS_PER_FRAME if samples else 0


def hear(before: Heard | None, sound: Sound, begin: int) -> Heard:
    """Go on from `before` where `sound` reaches back to its end, else begin anew at block `begin`
    with its level.

    Whole stretches are heard, at the end everything.
    """
    level = (before.level if before is not None else Level()).with_sound(sound)
    if before is None or sound.first > before.end:
        before = Heard(max(begin, sound.first), np.empty((0, ROW_VALUES)), level)
    end = sound.end if sound.ended else sound.end // STRETCH * STRETCH
    if end <= before.end:
        return Heard(before.first, before.rows, level)
    rows = np.concatenate([before.rows, _rows(sound, level, before.end, end)])[
        -KEPT_BLOCKS * ROWS_PER_FRAME :
    ]
    return Heard(end - len(rows) // ROWS_PER_FRAME, rows, level)


def _rows(sound: Sound, level: Level, begin: int, end: int) -> NDArray[np.float64]:
    """Rows of the blocks `begin .. end - 1`."""
    from_block = max(sound.first, begin - CONTEXT_BEHIND)
    start, stop = (
        (block - sound.first) * SOUND.hop_length for block in (from_block, end + CONTEXT_AHEAD)
    )
    signal = (sound.samples[start:stop] - level.mean) / level.peak
    wanted = slice((begin - from_block) * ROWS_PER_FRAME, (end - from_block) * ROWS_PER_FRAME)
    cepstra, filters = (values[wanted] for values in cepstra_and_filters(signal))
    pitch_hz = harvest(signal)[wanted, None]
    rows: NDArray[np.float64] = np.concatenate([cepstra, filters, pitch_hz, pitch_hz > 0], axis=1)
    rows[:, LOUDNESS] += 2.0 * np.log(level.peak)
    return rows
