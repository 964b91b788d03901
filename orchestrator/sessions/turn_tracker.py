"""Assignment of arriving messages to turns."""

from __future__ import annotations

from collections import deque

from orchestrator.core.types import AudioChunk


class TurnCounter:
    """Assigns messages to turns on arrival, before they are processed."""

    def __init__(self) -> None:
        self.ordinal = 0
        self.turn_id = ""
        self.next_chunk = 0
        """Number of the chunk expected next."""
        self._open = False
        self._ends_ms = 0.0
        self._rejoining = False
        self._interrupted_ids: deque[str] = deque(maxlen=16)

    @property
    def is_open(self) -> bool:
        """True while more audio of the newest turn is expected."""
        return self._open

    def chunk(self, turn_id: str | None, sequence_number: int) -> bool:
        """Assign a chunk to its turn; False if it is to be ignored: its turn was interrupted, or it
        was received before the connection was lost.

        A chunk numbered 0 restarts an interrupted turn, so a client may reuse the turn id.
        """
        if turn_id is not None and turn_id in self._interrupted_ids:
            if sequence_number > 0:
                return False
            self._interrupted_ids.remove(turn_id)
        if self._rejoining and self.is_of_open_turn(turn_id) and sequence_number < self.next_chunk:
            return False
        if not self._open or (turn_id is not None and turn_id != self.turn_id):
            self.ordinal += 1
            self.turn_id = turn_id or f"turn-{self.ordinal:03d}"
            self._open, self._rejoining = True, False
        return True

    def is_of_open_turn(self, turn_id: str | None) -> bool:
        """True if a chunk that names this turn, or none, continues the open turn."""
        return self._open and turn_id in (None, self.turn_id)

    def lost_before(self, chunk: AudioChunk, duration_ms: float) -> float:
        """Milliseconds of audio missing before a chunk: after a lost connection the client's
        timestamps show how much was never sent.
        """
        missing = self._rejoining and chunk.sequence_number > self.next_chunk
        lost_ms = max(0.0, chunk.timestamp_ms - self._ends_ms) if missing else 0.0
        self.next_chunk, self._ends_ms = chunk.sequence_number + 1, chunk.timestamp_ms + duration_ms
        self._rejoining = False
        return lost_ms

    def rejoin(self) -> None:
        """Note that the client is back: it may repeat chunks of the open turn."""
        self._rejoining = self._open

    def end(self) -> bool:
        """Complete the open turn; False if none is open."""
        was_open, self._open = self._open, False
        return was_open

    def interrupt(self, ordinal: int) -> None:
        """Interrupt turn `ordinal`; if it is still open, later chunks that name it are ignored."""
        if ordinal == self.ordinal and self._open:
            if self.turn_id not in self._interrupted_ids:
                self._interrupted_ids.append(self.turn_id)
            self._open = False
