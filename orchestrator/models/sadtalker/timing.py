"""SadTalker's own clock in a live turn: 25 rows a second.

Rows and audio that a frame of another rate needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.models.base import AudioWindow, FeatureWindows
from orchestrator.models.sadtalker.coefficients import REACH_FRAMES
from orchestrator.models.sadtalker.features import FPS, MEL_FRAMES_PER_S, WINDOW_FRAMES

AHEAD_FRAMES: Final = 52
"""Look-ahead in mel frames past a video frame's centre.

Key points look 13 rows ahead, 14 between two rows, and the last row's mel window reaches 3 rows
past its own middle; with the analysis window that is 675 ms. The network was trained on it.
"""

BEHIND_FRAMES: Final = 290
"""Mel frames before the one at the centre.

Head motion uses 32 rows, late enough to need nothing more ahead (`head_motion`), so that a frame
can be generated although no frame before it was. The turn keeps 4 s.
"""

WINDOW: Final = AudioWindow(frames=BEHIND_FRAMES + 1 + AHEAD_FRAMES, ahead_frames=AHEAD_FRAMES)

ON_ROW_TOLERANCE: Final = 1e-3
"""Distance in rows within which a centre counts as on a row.

At 25 frames a second nothing is interpolated then.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Position of one frame's centre among the rows of the turn.

    Row j is centred `(j + 0.5) / 25` s after the turn's start.
    """

    row: int
    """The row at or before the centre."""
    share: float
    """Distance of the centre past it, 0..1."""
    silent: bool
    mel: NDArray[np.float32]
    """`[BEHIND + 1 + AHEAD, 80]`."""
    first_mel: int
    """Number of its first row in the turn."""
    began_s: float
    """Session time at which the turn began."""

    @property
    def begin(self) -> int:
        """First row that its key points need.

        The turn's first row replaces those before the turn.
        """
        return max(0, self.row - REACH_FRAMES)

    @property
    def end(self) -> int:
        """One past the last row that its key points need."""
        return max(0, self.row) + REACH_FRAMES + (2 if self.share else 1)

    def around(self) -> NDArray[np.int64]:
        """Numbers `[28]` of the rows its key points need.

        The last one only where the frame lies between two rows.
        """
        return np.clip(
            np.arange(self.row - REACH_FRAMES, self.row + REACH_FRAMES + 2),
            self.begin,
            self.end - 1,
        )

    def mel_windows(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mel windows `[len(rows), 16, 80]` of `rows`.

        The turn's first mel frame replaces those before it, as in upstream.
        """
        starts = np.trunc(MEL_FRAMES_PER_S * ((np.maximum(rows, 0) - 2) / float(FPS))).astype(
            np.int64
        )
        wanted = np.maximum(starts[:, None] + np.arange(WINDOW_FRAMES), 0) - self.first_mel
        heard: NDArray[np.float32] = self.mel[np.clip(wanted, 0, len(self.mel) - 1)]
        return heard


def moments(windows: FeatureWindows) -> list[Moment]:
    """Positions of the frames."""
    return [_moment(windows, index) for index in range(len(windows))]


def row_times_s(rows: NDArray[np.int64], began_s: float) -> NDArray[np.float64]:
    """Session times of the middles of `rows`."""
    times: NDArray[np.float64] = began_s + (rows + 0.5) / FPS
    return times


def _moment(windows: FeatureWindows, index: int) -> Moment:
    slot = int(windows.slot[index])
    centre_s = (slot + float(windows.phase[index])) / MEL_FRAMES_PER_S
    place = centre_s * FPS - 0.5
    row = math.floor(place + ON_ROW_TOLERANCE)
    share = place - row
    return Moment(
        row=row,
        share=share if share > ON_ROW_TOLERANCE else 0.0,
        silent=bool(windows.silent[index]),
        mel=windows.rows[index],
        first_mel=slot - BEHIND_FRAMES,
        began_s=float(windows.idle_s[index]) - centre_s,
    )
