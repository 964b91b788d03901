"""Expression rows of a turn, 25 a second: the network's output, its share, without lids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.models.sadtalker.coefficients import EXPRESSION
from orchestrator.models.sadtalker.timing import Moment

RAMP_ROWS: Final = 4
"""Rows between the photo's own expression and all of the network's: 160 ms.

Speech is inside the windows from 0.2 s before to 0.2 s after it, so the ramps lie in its silence.
"""


@dataclass(frozen=True, slots=True, eq=False)
class SpokenRows:
    """Consecutive rows of a turn; a new object for each chunk."""

    first: int
    predicted: NDArray[np.float32]
    """`[n, 64]`: the network's expression, in silence the last one before it."""
    shown: NDArray[np.float32]
    """`[n]`, 0..1: its share in the face."""

    @property
    def end(self) -> int:
        """One past the last row."""
        return self.first + len(self.predicted)

    def expressions(self, rows: NDArray[np.int64], own: NDArray[np.float32]) -> NDArray[np.float32]:
        """Expressions `[len(rows), 64]` between the photo's `own` and the network's.

        Without blinks.
        """
        at = rows - self.first
        mixed: NDArray[np.float32] = own + self.shown[at, None] * (self.predicted[at] - own)
        return mixed

    def since(self, row: int) -> SpokenRows:
        """The rows from `row` on."""
        keep = max(0, row - self.first)
        return SpokenRows(self.first + keep, self.predicted[keep:].copy(), self.shown[keep:].copy())


@dataclass(frozen=True, slots=True, eq=False)
class NewRows:
    """Rows that a chunk needs and that are not known yet, in order."""

    rows: NDArray[np.int64]
    sounding: NDArray[np.bool_]
    """`[n]`: True for rows that the network has to compute."""
    mel: NDArray[np.float32]
    """`[sounding, 16, 80]`."""


def still_valid(known: SpokenRows | None, frames: Sequence[Moment]) -> SpokenRows | None:
    """The rows of the previous chunk, if they are still valid.

    They are not if frames of another model lie between, for longer than the rows reach.
    """
    return known if known is not None and known.first <= frames[0].begin <= known.end else None


def new_rows(known: SpokenRows | None, frames: Sequence[Moment]) -> NewRows:
    """Rows to compute, each from the first frame that needs it; a silent frame rests."""
    rows, sounding, mel = [], [], [np.zeros((0, 16, 80), np.float32)]
    begin = frames[0].begin if known is None else known.end
    for frame in frames:
        unknown = np.arange(begin, max(begin, frame.end))
        rows.append(unknown)
        sounding.append(np.full(len(unknown), not frame.silent))
        if not frame.silent:
            mel.append(frame.mel_windows(unknown))
        begin = max(begin, frame.end)
    return NewRows(np.concatenate(rows), np.concatenate(sounding), np.concatenate(mel))


def joined(
    known: SpokenRows | None, new: NewRows, answers: NDArray[np.float32], own: NDArray[np.float32]
) -> SpokenRows:
    """`known` and the new rows, for which the network returned `answers` `[sounding, 64]`.

    A turn may begin within a word.
    """
    predicted = np.empty((len(new.rows), EXPRESSION), np.float32)
    shown = np.empty(len(new.rows), np.float32)
    answer = iter(answers)
    last, share = (own, -1.0) if known is None else (known.predicted[-1], float(known.shown[-1]))
    for index, sounding in enumerate(new.sounding.tolist()):
        last = next(answer) if sounding else last
        share = (
            float(sounding)
            if share < 0.0
            else min(max(share + (1.0 if sounding else -1.0) / RAMP_ROWS, 0.0), 1.0)
        )
        predicted[index], shown[index] = last, share
    if known is None:
        return SpokenRows(int(new.rows[0]), predicted, shown)
    return SpokenRows(
        known.first,
        np.concatenate((known.predicted, predicted)),
        np.concatenate((known.shown, shown)),
    )
