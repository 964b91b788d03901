"""Every conversation that goes over sockets, by user and id: each outlives the connection it lost,
for a while and within the limits.

A session id is its user's own: what others call theirs neither takes it away nor is told by it. On
one connection it is unique, since most messages name nothing else.
"""

from __future__ import annotations

import asyncio
import logging

from orchestrator import protocol
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.core.logs import session_logged
from orchestrator.pipeline.session_state import Session
from orchestrator.sessions.drain import Drain
from orchestrator.sessions.live_session import Conversation, Line
from orchestrator.sessions.service import LipSyncService

logger = logging.getLogger(__name__)


class Switchboard:
    """Owns the conversations' tasks; connections come and go."""

    def __init__(self, service: LipSyncService) -> None:
        self._service = service
        self.drain = Drain(service.metrics)
        self._conversations: dict[str, Conversation] = {}
        self._carried: dict[tuple[Line, str], Conversation] = {}
        """The same by what carries them and the id they have there."""
        self._tasks: dict[Conversation, asyncio.Task[None]] = {}
        self._parked: dict[Conversation, asyncio.TimerHandle] = {}
        """Without a connection, the longest so first; each with the timer that ends it."""

    async def close(self) -> None:
        """End every conversation."""
        for timer in self._parked.values():
            timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def on(self, line: Line, session_id: str) -> Conversation | None:
        """The conversation that this line carries under that id."""
        return self._carried.get((line, session_id))

    def find(self, session_id: str, user_id: str) -> Conversation | None:
        """The user's conversation of that id, wherever it is."""
        return self._conversations.get(_key(session_id, user_id))

    def is_in_turn(self, line: Line) -> bool:
        """True while a session on this line has begun to answer a turn that is not over."""
        return any(
            conversation.is_answering
            for conversation in self._conversations.values()
            if conversation.line is line
        )

    @property
    def has_parked(self) -> bool:
        """True while a session waits for its client to come back."""
        return bool(self._parked)

    def open(self, session_id: str, user_id: str, line: Line) -> Conversation:
        """A new conversation over this line; SESSION_LIMIT without room or while draining,
        INVALID_MESSAGE when the id is taken.
        """
        self.drain.refuse(line)
        config = self._service.config
        key = _key(session_id, user_id)
        session = Session(
            session_id,
            user_id,
            inbox_ms=config.inbox_ms,
            outbox_frames=config.outbox_frames,
            key=key,
        )
        try:
            self._service.sessions.add(session)
        except LipSyncError as error:
            is_full = (
                len(self._service.sessions) >= config.max_concurrent_sessions
                or "limitPerUser" in error.details
            )
            if not is_full or not self._make_room(user_id):
                raise
            self._service.sessions.add(session)
        conversation = self._conversations[key] = Conversation(
            session, self._service, self.drain.look
        )
        with session_logged(session_id):
            task = self._tasks[conversation] = asyncio.create_task(
                self._run(conversation), name=f"session {session_id}"
            )
        task.add_done_callback(
            lambda _: self._tasks.pop(conversation)
        )  # one that was cancelled before it began has no end of its own
        conversation.attach(line)
        self._carried[line, session_id] = conversation
        self._service.metrics.sessions.set(len(self._service.sessions))
        return conversation

    async def resume(
        self, conversation: Conversation, line: Line, seen: protocol.ResumeSession | None = None
    ) -> None:
        """Go on over this line. Refused while the line that the conversation has is alive."""
        session = conversation.session
        old = conversation.line
        if old is not None and old is not line and await old.answers():
            message = f"sessionId: {session.id!r} is open on another connection; choose another id"
            raise LipSyncError(
                LipSyncErrorCode.INVALID_MESSAGE,
                message,
                recoverable=False,
                details={"field": "sessionId"},
            )
        if old is not None and old is not line:
            old.hang_up()
        if conversation.line in (old, None):  # else another connection was given it meanwhile
            await self._detach(conversation)
        if (
            self._conversations.get(session.key) is not conversation
            or conversation.line is not None
        ):
            raise invalid_field(
                "sessionId", f"session {session.id!r} has just ended or gone on elsewhere"
            )
        self._stop_timer(conversation)
        conversation.resume(line, seen)
        self._carried[line, session.id] = conversation
        self._service.metrics.resumptions_total.inc()

    async def lost(self, line: Line, *, closed: bool) -> None:
        """A connection is gone. Its sessions end if the client `closed` it, and otherwise wait for
        the client to come back.
        """
        for conversation in [each for each in self._conversations.values() if each.line is line]:
            if closed or self._service.config.resume_ttl_s <= 0.0:
                self.end(conversation)
            elif (
                conversation.line is line
            ):  # it may have gone on over another one while those before it were parked
                await self._park(conversation)

    def end(self, conversation: Conversation) -> None:
        """Forget a conversation at once and free what it holds."""
        self._forget(conversation)
        conversation.fall_silent()
        task = self._tasks.get(conversation)
        if task is not None:
            task.cancel()

    async def _park(self, conversation: Conversation) -> None:
        await self._detach(conversation)
        if (
            conversation.line is None
            and conversation in self._tasks
            and conversation not in self._parked
        ):
            loop = asyncio.get_running_loop()
            self._parked[conversation] = loop.call_later(
                self._service.config.resume_ttl_s, self.end, conversation
            )
            self._service.metrics.waiting_sessions.set(len(self._parked))

    async def _detach(self, conversation: Conversation) -> None:
        self._uncarry(conversation)
        await conversation.detach()

    def _uncarry(self, conversation: Conversation) -> None:
        if conversation.line is not None:
            self._carried.pop((conversation.line, conversation.session.id), None)

    def _make_room(self, user_id: str) -> bool:
        """A session that only waits for its client gives way to a new one of the same user."""
        for conversation in self._parked:
            if conversation.session.user_id == user_id:
                self.end(conversation)
                return True
        return False

    def _stop_timer(self, conversation: Conversation) -> None:
        timer = self._parked.pop(conversation, None)
        if timer is not None:
            timer.cancel()
            self._service.metrics.waiting_sessions.set(len(self._parked))

    def _forget(self, conversation: Conversation) -> None:
        self._stop_timer(conversation)
        if self._conversations.get(conversation.session.key) is conversation:
            del self._conversations[conversation.session.key]
            self._uncarry(conversation)
        self._service.sessions.remove(conversation.session)
        self._service.metrics.sessions.set(len(self._service.sessions))
        self.drain.look()

    async def _run(self, conversation: Conversation) -> None:
        try:
            await conversation.run()
        except Exception:  # the edge of the session's task; its line carries other sessions too
            logger.exception("session %s failed", conversation.session.id)
            self._forget(conversation)  # before the client is told, who may open it again at once
            await conversation.tell_of_fault()
        finally:
            self._forget(conversation)


def _key(session_id: str, user_id: str) -> str:
    return f"{user_id}/{session_id}"  # no id holds a slash
