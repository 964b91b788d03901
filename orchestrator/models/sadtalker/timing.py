"""SadTalker's own clock in a live turn: 25 rows a second, and which of them and how much sound a
frame of another rate needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.models.base import AudioWindow, FeatureWindows
from orchestrator.models.sadtalker.coefficients import REACH
from orchestrator.models.sadtalker.features import FPS, MEL_FRAMES_PER_S, WINDOW_FRAMES

AHEAD_FRAMES: Final = 52
"""Mel frames past a video frame's centre. Key points look 13 rows ahead, 14 between two rows, and
the last row's mel window reaches 3 rows past its own middle; with the analysis window that is 675
ms. It is what the network was trained on.
"""

BEHIND_FRAMES: Final = 290
"""Mel frames before the one at the centre: head motion hears 32 rows, late enough to need nothing
more ahead (`sadtalker_head`), so that a frame can be drawn although no frame before it was. The
turn keeps 4 s.
"""

WINDOW: Final = AudioWindow(frames=BEHIND_FRAMES + 1 + AHEAD_FRAMES, ahead_frames=AHEAD_FRAMES)

ON_A_ROW: Final = 1e-3
"""Rows; a centre this near to one is on it, so that 25 frames a second interpolate nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One frame's centre among the rows of the turn; row j is centred `(j + 0.5) / 25` s after its
    start.
    """

    row: int
    """The row at or before the centre."""
    share: float
    """How far the centre lies past it, 0..1."""
    silent: bool
    mel: NDArray[np.float32]
    """`[BEHIND + 1 + AHEAD, 80]`."""
    first_mel: int
    """Number of its first row in the turn."""
    began_s: float
    """Session time at which the turn began."""

    @property
    def begin(self) -> int:
        """First row that its key points see; none lies before the turn, the turn's first stands for
        those.
        """
        return max(0, self.row - REACH)

    @property
    def end(self) -> int:
        """One past the last row that its key points see."""
        return max(0, self.row) + REACH + (2 if self.share else 1)

    def around(self) -> NDArray[np.int64]:
        """Numbers `[28]` of the rows its key points see, the last one only where it lies between
        two rows.
        """
        return np.clip(np.arange(self.row - REACH, self.row + REACH + 2), self.begin, self.end - 1)

    def heard(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mel windows `[len(rows), 16, 80]` of `rows`; the turn's first mel frame stands for those
        before it, as upstream has it.
        """
        starts = np.trunc(MEL_FRAMES_PER_S * ((np.maximum(rows, 0) - 2) / float(FPS))).astype(
            np.int64
        )
        wanted = np.maximum(starts[:, None] + np.arange(WINDOW_FRAMES), 0) - self.first_mel
        heard: NDArray[np.float32] = self.mel[np.clip(wanted, 0, len(self.mel) - 1)]
        return heard


def moments(windows: FeatureWindows) -> list[Moment]:
    """Where each frame lies."""
    return [_moment(windows, index) for index in range(len(windows))]


def row_times_s(rows: NDArray[np.int64], began_s: float) -> NDArray[np.float64]:
    """Session times of the middles of `rows`."""
    times: NDArray[np.float64] = began_s + (rows + 0.5) / FPS
    return times


def _moment(windows: FeatureWindows, index: int) -> Moment:
    slot = int(windows.slot[index])
    centre_s = (slot + float(windows.phase[index])) / MEL_FRAMES_PER_S
    place = centre_s * FPS - 0.5
    row = math.floor(place + ON_A_ROW)
    share = place - row
    return Moment(
        row=row,
        share=share if share > ON_A_ROW else 0.0,
        silent=bool(windows.silent[index]),
        mel=windows.rows[index],
        first_mel=slot - BEHIND_FRAMES,
        began_s=float(windows.idle_s[index]) - centre_s,
    )
