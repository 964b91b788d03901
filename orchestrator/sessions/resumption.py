"""State of a session that its client resumes over another connection."""

from __future__ import annotations

from orchestrator.pipeline.session_events import OutgoingFrame, Resumed, TurnEnded, TurnStarted
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.sessions.turn_tracker import TurnCounter


def count_from(session: Session, turn_id: str, next_frame: int) -> None:
    """Adopt the client's count: it received `next_frame` frames of that turn, and none of the turns
    after it.
    """
    unfinished = _unfinished_turns(session)
    has_ended = all(turn.id != turn_id for turn in unfinished)
    for turn in unfinished:
        if has_ended:
            turn.delivery.frames_sent = 0
        elif turn.id == turn_id:
            turn.delivery.frames_sent = min(turn.delivery.frames_sent, next_frame)


def position(session: Session, turns: TurnCounter) -> Resumed:
    """Message that tells the client where to continue."""
    arriving = [turns.turn_id] if turns.is_open else []
    queued = [item.turn_id for item in session.audio.inbox.items()]
    unfinished = [turn.id for turn in _unfinished_turns(session)]
    return Resumed(
        turns.turn_id if turns.is_open else None,
        turns.next_chunk if turns.is_open else 0,
        tuple(dict.fromkeys(unfinished + queued + arriving)),
    )


def _unfinished_turns(session: Session) -> list[Turn]:
    waiting = [
        out.turn
        for out in session.delivery.outbox.items()
        if isinstance(out, OutgoingFrame | TurnStarted | TurnEnded)
    ]
    current = [session.audio.turn] if session.audio.turn is not None else []
    return list(dict.fromkeys(waiting + current))
