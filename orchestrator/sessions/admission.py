"""Admission control: the registry of open sessions and its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel
from orchestrator.pipeline.session_state import Session

RETRY_AFTER_S = 5
"""What a client that finds no room is told to wait: turns end after seconds, so a place may be free
by then.
"""


class SessionRegistry:
    """All open sessions by key."""

    def __init__(self, limit: int, limit_per_user: int | None = None) -> None:
        self._limit = limit
        self._limit_per_user = limit if limit_per_user is None else limit_per_user
        self._sessions: dict[str, Session] = {}
        self.carries: int | None = None
        """Faces that the machine draws at once, once that was measured; sessions that only listen
        are not counted.
        """

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def add(self, session: Session) -> None:
        """Admit a session; SESSION_LIMIT when there are too many, INVALID_MESSAGE when its key is
        taken.
        """
        if session.key in self._sessions:
            message = f"sessionId: {session.id!r} is open on another connection; choose another id"
            raise LipSyncError(
                LipSyncErrorCode.INVALID_MESSAGE,
                message,
                recoverable=False,
                details={"field": "sessionId"},
            )
        if len(self._sessions) >= self._limit:
            raise too_many(
                f"all {self._limit} sessions are taken; try again when one has ended",
                limit=self._limit,
            )
        if self.carries is not None and self.speaking() >= self.carries:
            raise too_many(
                f"at capacity ({self.carries} active speakers): retry shortly",
                limit=self.carries,
            )
        if (
            sum(other.user_id == session.user_id for other in self._sessions.values())
            >= self._limit_per_user
        ):
            message = (
                f"user {session.user_id!r} has {self._limit_per_user} sessions; end one of them "
                "first"
            )
            raise too_many(message, limitPerUser=self._limit_per_user)
        self._sessions[session.key] = session

    def speaking(self) -> int:
        """Sessions with frames to draw."""
        now = asyncio.get_running_loop().time()
        return sum(session.speaks(now) for session in self._sessions.values())

    def get(self, key: str) -> Session | None:
        """The open session of that key, which for calls is its id."""
        return self._sessions.get(key)

    def swap_face(self, user_id: str, old_id: str, face: FaceModel) -> None:
        """Sessions of the user that speak with the old face go on with this one, from their next
        chunk.
        """
        for session in self._sessions.values():
            if (
                session.user_id == user_id
                and session.face is not None
                and session.face.id == old_id
            ):
                session.swapped_face = face

    def remove(self, session: Session) -> None:
        """Forget a session."""
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]


def too_many(message: str, *, retry_after_s: int = RETRY_AFTER_S, **details: int) -> LipSyncError:
    """SESSION_LIMIT with the time after which to try again; over HTTP it becomes `Retry-After`."""
    return LipSyncError(
        LipSyncErrorCode.SESSION_LIMIT,
        message,
        recoverable=True,
        details={**details, "retryAfterS": retry_after_s},
    )
