"""Buffer of numbered rows that grows at the end and drops old rows.

Rows are numbered from the turn's first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class RowBuffer:
    """Rows `first .. end - 1` of an endless table `[*, columns]`.

    Appending costs a copy of the new rows, amortised.
    """

    def __init__(self, columns: int, first: int, capacity: int = 256) -> None:
        self._rows = np.zeros((capacity, columns), np.float32)
        self._offset = 0
        self.first = first
        """Number of the oldest row kept."""
        self.end = first
        """One past the newest row's number."""

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add rows at the end."""
        used = self.end - self.first
        if self._offset + used + len(rows) > len(self._rows):
            self._make_room(used, len(rows))
        start = self._offset + used
        self._rows[start : start + len(rows)] = rows
        self.end += len(rows)

    def discard_before(self, row: int) -> None:
        """Drop rows below `row`."""
        dropped = min(max(0, row - self.first), self.end - self.first)
        self._offset += dropped
        self.first += dropped

    def rows(self, begin: int, end: int) -> NDArray[np.float32]:
        """A view of rows `begin .. end - 1`, all of which must be kept ones."""
        return self._rows[self._offset + begin - self.first : self._offset + end - self.first]

    def _make_room(self, used: int, extra: int) -> None:
        """Move rows to the front where that frees half of the table.

        Memory thus follows the number of kept rows.
        """
        kept = self._rows[self._offset : self._offset + used]
        capacity = len(self._rows)
        while capacity < 2 * (used + extra):
            capacity *= 2
        grown = np.zeros((capacity, self._rows.shape[1]), np.float32)
        grown[:used] = kept
        self._rows, self._offset = grown, 0
