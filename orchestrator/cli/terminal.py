"""Output of the commands: tables, one line for each error, and a progress bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, TextIO

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode

BAR_COLUMNS: Final = 30
REDRAW_S: Final = 0.1
"""Shortest interval between two drawings of the bar."""


HINTS: Final = {
    LipSyncErrorCode.FACE_MODEL_NOT_FOUND: (
        "enrol one: lipsync enroll PHOTO --user U --id F --consent"
    ),
    LipSyncErrorCode.MODEL_LOAD_FAILED: "what is missing: lipsync models, lipsync doctor",
    LipSyncErrorCode.TIMEOUT: "what is wrong: lipsync doctor",
}
"""Remedies, for errors whose message does not name one."""


def explain(error: Exception) -> int:
    """Print the error in one line, and each of its reasons in another; return exit status 1."""
    reasons = error.details.get("reasons", ()) if isinstance(error, LipSyncError) else ()
    hint = None
    if isinstance(error, LipSyncError) and not isinstance(error, OSError):  # not a storage failure
        hint = HINTS.get(error.code)
    text = "the photo cannot be used:" if reasons else _text(error)
    print(f"lipsync: {' '.join(text.split())}{f' ({hint})' if hint else ''}", file=sys.stderr)
    for reason in reasons:
        print(
            f"  {reason['message']} ({reason['code']}, measured {reason['measured']})",
            file=sys.stderr,
        )
    return 1


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Rows as aligned text, the first row as heading; the columns in `right` are right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    heading, *body = rows
    return "\n".join([line(heading), "  ".join("-" * width for width in widths), *map(line, body)])


class Progress:
    """Progress of work with a known end: a bar on a terminal, elsewhere one line at the end.

    A context manager.
    """

    def __init__(self, what: str, total: int, *, unit: str, stream: TextIO | None = None) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._began = time.monotonic()
        self._drawn = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bar, so that the next output takes its place."""
        if self._live:
            self._stream.write("\r\033[K")
        elif error is None:
            self._stream.write(f"{self._what}: {self._total} {self._unit}\n")
        self._stream.flush()

    def show(self, done: int) -> None:
        """Redraw the bar, at most ten times a second."""
        now = time.monotonic()
        if not self._live or (now - self._drawn < REDRAW_S and done < self._total):
            return
        self._drawn = now
        share = done / max(1, self._total)
        bar = ("#" * round(share * BAR_COLUMNS)).ljust(BAR_COLUMNS, ".")
        left_s = (now - self._began) * (1.0 - share) / share if share > 0.0 else 0.0
        self._stream.write(
            f"\r{self._what} [{bar}] {done}/{self._total} {self._unit}, {left_s:.0f} s left\033[K"
        )
        self._stream.flush()
