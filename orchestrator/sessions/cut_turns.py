"""Turns of a connection in which a session's time limit was reached.

The rest of such a turn's audio is ignored: it must not open another session.
"""

from __future__ import annotations

from typing import Final

from orchestrator import protocol
from orchestrator.sessions.live_session import LiveSession

MAX_CUT: Final = 64
"""Sessions of a connection whose cut turn is remembered."""


class CutTurns:
    """Ids of the cut turns by session id, the oldest first."""

    def __init__(self) -> None:
        self._turns: dict[str, str] = {}

    def add(self, session_id: str, turn_id: str) -> None:
        """Remember that this turn was cut."""
        self._turns[session_id] = turn_id
        if len(self._turns) > MAX_CUT:
            del self._turns[next(iter(self._turns))]

    def end(self, session_id: str) -> bool:
        """Forget the session's cut turn, whose end arrived; False if none was cut."""
        return self._turns.pop(session_id, None) is not None

    def covers(self, request: protocol.AudioRequest, live: LiveSession | None) -> bool:
        """True if a chunk is to be ignored. A turn that begins while the session still sends its
        end is cut as well.
        """
        known = self._turns.get(request.session_id)
        if live is not None and live.is_over:
            self.add(request.session_id, request.turn_id or known or "")
            return True
        goes_on = request.chunk.sequence_number > 0 and request.turn_id in (None, known)
        if known is not None and goes_on:
            return True
        self._turns.pop(request.session_id, None)
        return False
