"""Admission control: the limits that a new session must keep. Pure functions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.pipeline.session_state import Session

RETRY_AFTER_S: Final = 5
"""Time after which a refused client should retry: turns end after seconds, so a place may be free
by then.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most sessions at once."""

    sessions: int
    sessions_per_user: int
    speakers: int | None = None
    """Faces that the machine can generate at once; None until that was measured. Sessions that only
    listen do not count.
    """


def check_admission(
    open_sessions: Collection[Session], user_id: str, limits: Limits, now: float
) -> None:
    """Raise SESSION_LIMIT if one more session of the user would exceed a limit."""
    if len(open_sessions) >= limits.sessions:
        raise too_many(
            f"all {limits.sessions} sessions are taken; try again when one has ended",
            limit=limits.sessions,
        )
    if limits.speakers is not None and speakers(open_sessions, now) >= limits.speakers:
        raise too_many(
            f"at capacity ({limits.speakers} active speakers): retry shortly",
            limit=limits.speakers,
        )
    own = sum(other.user_id == user_id for other in open_sessions)
    if own >= limits.sessions_per_user:
        raise too_many(
            f"user {user_id!r} has {limits.sessions_per_user} sessions; end one of them first",
            limitPerUser=limits.sessions_per_user,
        )


def speakers(open_sessions: Collection[Session], now: float) -> int:
    """Number of sessions that have frames to generate."""
    return sum(session.speaks(now) for session in open_sessions)


def too_many(message: str, *, retry_after_s: int = RETRY_AFTER_S, **details: int) -> LipSyncError:
    """SESSION_LIMIT with the time after which to retry; over HTTP it becomes `Retry-After`."""
    return LipSyncError(
        LipSyncErrorCode.SESSION_LIMIT,
        message,
        recoverable=True,
        details={**details, "retryAfterS": retry_after_s},
    )


def taken(session_id: str) -> LipSyncError:
    """INVALID_MESSAGE for a session id that its user has open elsewhere."""
    return LipSyncError(
        LipSyncErrorCode.INVALID_MESSAGE,
        f"sessionId: {session_id!r} is open on another connection; choose another id",
        recoverable=False,
        details={"field": "sessionId"},
    )
