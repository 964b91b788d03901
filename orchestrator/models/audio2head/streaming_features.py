"""Audio2Head's features in a live turn, from windows of a few seconds.

Upstream takes some quantities from the whole file. Here they come from the turn so far: its mean
and its largest value, and the pitch contour, which is computed in stretches with some audio around
them. docs/models.md has the measured differences.
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
"""Waveform of one video frame at 25 fps as a row; the networks read four feature rows of it."""

CONTEXT_BEHIND: Final = 8
CONTEXT_AHEAD: Final = 2
"""Context of a stretch in blocks of audio before and after it.

Over five synthetic voices 0.5 % of the rows then change between voiced and unvoiced against the
whole file's, 0.6 % differ by more than 1 Hz. With twice the context it is 0.4 % and 0.4 %.
"""

STRETCH_BLOCKS: Final = 16
"""Blocks that are computed at once, so that the context is not paid for with every frame."""

AHEAD_ROWS: Final = 50
"""Look-ahead in rows after the row of the frame's centre.

A frame that is the first of its chunk needs 47 blocks past its own (`chunks`), one more where it
lies between two frames of 25 fps, and those need `CONTEXT_AHEAD`.
"""

BEHIND_ROWS: Final = 56
"""Rows before the frame's centre.

The last frame of a chunk needs 47 blocks before its own, and one where it lies between two; and
`CONTEXT_BEHIND`.
"""

WINDOW: Final = AudioWindow(frames=BEHIND_ROWS + 1 + AHEAD_ROWS, ahead_frames=AHEAD_ROWS)

MAX_KEPT_BLOCKS: Final = 128
"""Upper bound of kept blocks: more than two neighbouring chunks need."""

MIN_PEAK: Final = 0.02
"""Least peak, relative to full scale, to which a turn is normalised.

A quieter turn is not amplified further: it may be the noise before the speech.
"""

FULL_SCALE: Final = 32768.0
LOUDNESS_COLUMNS: Final = [0, *range(CEPSTRA, CEPSTRA + FILTERS)]
PITCH_COLUMN: Final = ROW_VALUES - 2
"""Columns of a row: logarithms of power, and Hz."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """The turn's audio around one frame."""

    first: int
    """Block of the turn at which `samples` begin."""
    samples: NDArray[np.float64]
    """16 kHz in steps of 16 bits, without trailing silence if nothing follows it."""
    end: int
    """One past the last available block."""
    ended: bool
    """True if only digital silence follows, as far as is known."""


@dataclass(frozen=True, slots=True)
class Level:
    """Statistics of all samples of the turn so far."""

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
        return max(self.highest - self.mean, self.mean - self.lowest, MIN_PEAK * FULL_SCALE)

    def with_sound(self, sound: Sound) -> Level:
        """The level updated with the new part of `sound`."""
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
class FeatureBlocks:
    """Features of consecutive blocks."""

    first: int
    rows: NDArray[np.float64]
    """`[4 * blocks, 41]`, at a level where the largest sample is one step of 16 bits.

    The pitch is zero where unvoiced.
    """
    level: Level

    @property
    def end(self) -> int:
        """One past the last block."""
        return self.first + len(self.rows) // ROWS_PER_FRAME

    def blocks(self, begin: int, end: int) -> NDArray[np.float32]:
        """Input `[end - begin, 4, 41]` of the networks, at the turn's present level."""
        pitch_hz = filled(self.rows[:, PITCH_COLUMN])
        wanted = slice((begin - self.first) * ROWS_PER_FRAME, (end - self.first) * ROWS_PER_FRAME)
        rows = self.rows[wanted].copy()
        rows[:, LOUDNESS_COLUMNS] -= 2.0 * np.log(self.level.peak)
        rows[:, PITCH_COLUMN] = pitch_hz[wanted]
        return rows.astype(np.float32).reshape(-1, ROWS_PER_FRAME, ROW_VALUES)


def sound_around(rows: NDArray[np.float32], slot: int) -> Sound:
    """The turn's audio in a window `[107, 640]` around the block `slot`."""
    first = max(0, slot - BEHIND_ROWS)
    samples = np.rint(rows[first - (slot - BEHIND_ROWS) :].reshape(-1) * FULL_SCALE).astype(
        np.float64
    )
    known = slot + 1 + AHEAD_ROWS - CONTEXT_AHEAD
    last = np.flatnonzero(samples)[-1:]
    sounding = samples[: int(last[0]) + 1] if len(last) else samples[:0]
    total = first + block_count(len(sounding))
    return (
        Sound(first, sounding, total, True)
        if total < known
        else Sound(first, samples, known, False)
    )


def block_count(samples: int) -> int:
    """Blocks of a whole utterance: those with rows in upstream's features."""
    rows = min(1 + max(0, -(-(samples - FRAME_SAMPLES) // HOP_SAMPLES)), 1 + samples // HOP_SAMPLES)
    return rows // ROWS_PER_FRAME if samples else 0


def extend_features(before: FeatureBlocks | None, sound: Sound, begin: int) -> FeatureBlocks:
    """Continue from `before` where `sound` reaches back to its end, else begin at block `begin`.

    A new beginning keeps the level. Features are computed in whole stretches, at the end for all.
    """
    level = (before.level if before is not None else Level()).with_sound(sound)
    if before is None or sound.first > before.end:
        before = FeatureBlocks(max(begin, sound.first), np.empty((0, ROW_VALUES)), level)
    end = sound.end if sound.ended else sound.end // STRETCH_BLOCKS * STRETCH_BLOCKS
    if end <= before.end:
        return FeatureBlocks(before.first, before.rows, level)
    rows = np.concatenate([before.rows, _rows(sound, level, before.end, end)])[
        -MAX_KEPT_BLOCKS * ROWS_PER_FRAME :
    ]
    return FeatureBlocks(end - len(rows) // ROWS_PER_FRAME, rows, level)


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
    rows[:, LOUDNESS_COLUMNS] += 2.0 * np.log(level.peak)
    return rows
