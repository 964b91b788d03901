"""Directory of all open sessions, those of sockets and those of calls, by user id and session id.

Session ids are scoped to the user: another user's session with the same id is unaffected and
invisible. On one connection a session id is unique, since most messages name nothing else.
A live session outlives a lost connection for a while, within the limits of admission control.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace

from orchestrator import protocol
from orchestrator.core.errors import LipSyncError, invalid_field
from orchestrator.core.logs import session_logged
from orchestrator.core.types import FaceModel
from orchestrator.pipeline.session_state import Session, SessionKey
from orchestrator.sessions.admission import Limits, check_admission, speakers, taken
from orchestrator.sessions.drain import Drain
from orchestrator.sessions.interfaces import MessageSink, SessionEnvironment
from orchestrator.sessions.live_session import LiveSession
from orchestrator.sessions.parking import ParkedSessions

logger = logging.getLogger(__name__)


class SessionDirectory:
    """Registry of the sessions and owner of the live sessions' tasks; connections come and go."""

    def __init__(self, environment: SessionEnvironment) -> None:
        config = environment.config
        self.drain = Drain(environment.metrics)
        self._environment = environment
        self._limits = Limits(config.max_concurrent_sessions, config.max_sessions_per_user)
        self._sessions: dict[SessionKey, Session] = {}
        self._live: dict[Session, LiveSession] = {}
        """Sessions over sockets; the others belong to calls."""
        self._carried: dict[tuple[MessageSink, str], LiveSession] = {}
        """Live sessions by their connection and their id."""
        self._tasks: dict[LiveSession, asyncio.Task[None]] = {}
        self._parked = ParkedSessions(environment.metrics, self.end)

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    async def close(self) -> None:
        """End every live session."""
        self._parked.close()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # All sessions

    @property
    def capacity(self) -> int | None:
        """Faces that may speak at once; None until that was measured."""
        return self._limits.speakers

    def limit_speakers(self, count: int) -> None:
        """Refuse new sessions while `count` faces speak."""
        self._limits = replace(self._limits, speakers=count)

    def speaking(self) -> int:
        """Number of sessions that have frames to generate."""
        return speakers(self._sessions.values(), asyncio.get_running_loop().time())

    def get(self, key: SessionKey) -> Session | None:
        """The open session of that user and id."""
        return self._sessions.get(key)

    def called(self, session_id: str) -> Session | None:
        """The session of that id that calls opened; their ids are unique within the program."""
        called = (session for session in self._sessions.values() if session not in self._live)
        return next((session for session in called if session.id == session_id), None)

    def add(self, session: Session) -> None:
        """Admit a session; SESSION_LIMIT when a limit is reached, INVALID_MESSAGE when the user has
        a session of that id.
        """
        if session.key in self._sessions:
            raise taken(session.id)
        now = asyncio.get_running_loop().time()
        check_admission(self._sessions.values(), session.user_id, self._limits, now)
        self._sessions[session.key] = session

    def remove(self, session: Session) -> None:
        """Forget a session."""
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]

    def swap_face(self, user_id: str, old_id: str, face: FaceModel) -> None:
        """Give the user's sessions that use the face `old_id` this one with their next chunk."""
        for session in self._sessions.values():
            current = session.face.current
            if session.user_id == user_id and current is not None and current.id == old_id:
                session.face.swapped = face

    # Live sessions

    @property
    def has_parked(self) -> bool:
        """True while a session waits for its client to come back."""
        return len(self._parked) > 0

    def on(self, sink: MessageSink, session_id: str) -> LiveSession | None:
        """The session of that id that this connection carries."""
        return self._carried.get((sink, session_id))

    def find(self, session_id: str, user_id: str) -> LiveSession | None:
        """The user's live session of that id, wherever it is."""
        session = self._sessions.get((user_id, session_id))
        return None if session is None else self._live.get(session)

    def is_in_turn(self, sink: MessageSink) -> bool:
        """True between `response_start` and `response_end` of a session on this connection."""
        return any(live.is_answering for live in self._live.values() if live.sink is sink)

    def open(self, session_id: str, user_id: str, sink: MessageSink) -> LiveSession:
        """Open a session over this connection; SESSION_LIMIT at a limit or while draining,
        INVALID_MESSAGE when the id is taken.
        """
        self.drain.refuse(sink)
        config = self._environment.config
        session = Session(
            session_id,
            user_id,
            inbox_ms=config.inbox_ms,
            outbox_frames=config.outbox_frames,
        )
        self._admit(session)
        live = self._live[session] = LiveSession(session, self._environment, self.drain.look)
        self._start(live)
        live.attach(sink)
        self._carried[sink, session_id] = live
        self._environment.metrics.sessions.set(len(self))
        return live

    def _admit(self, session: Session) -> None:
        """Add a session; if places are short, evict the user's oldest parked session for it."""
        try:
            self.add(session)
        except LipSyncError as error:
            is_full = len(self) >= self._limits.sessions or "limitPerUser" in error.details
            parked = self._parked.oldest_of(session.user_id) if is_full else None
            if parked is None:
                raise
            self.end(parked)
            self.add(session)

    def _start(self, live: LiveSession) -> None:
        session_id = live.session.id
        with session_logged(session_id):
            task = asyncio.create_task(self._run(live), name=f"session {session_id}")
        self._tasks[live] = task
        # a task that is cancelled before it begins runs no code of its own
        task.add_done_callback(lambda _: self._tasks.pop(live))

    async def join(self, request: protocol.AudioRequest, sink: MessageSink) -> LiveSession:
        """Open the session of a chunk, or resume it if it lost its connection. A chunk numbered 0
        then restarts its unfinished turn.
        """
        live = self.find(request.session_id, request.user_id)
        if live is None:
            return self.open(request.session_id, request.user_id, sink)
        await self.resume(live, sink)
        restarts = request.chunk.sequence_number == 0
        if restarts and live.turns.is_of_open_turn(request.turn_id):
            await live.interrupt(live.turns.turn_id)
        return live

    async def resume(
        self, live: LiveSession, sink: MessageSink, seen: protocol.ResumeSession | None = None
    ) -> None:
        """Continue a session over this connection; refused while its own connection responds."""
        session, old = live.session, live.sink
        if old is not None and old is not sink:
            if await old.responds():
                raise taken(session.id)
            old.abort()
        if live.sink in (old, None):  # otherwise another connection got it meanwhile
            await self._detach(live)
        if self._live.get(session) is not live or live.sink is not None:
            raise invalid_field(
                "sessionId", f"session {session.id!r} has just ended or gone on elsewhere"
            )
        self._parked.release(live)
        live.resume(sink, seen)
        self._carried[sink, session.id] = live
        self._environment.metrics.resumptions_total.inc()

    async def lost(self, sink: MessageSink, *, closed: bool) -> None:
        """Handle the end of a connection: its sessions end if the client `closed` it, and wait for
        the client otherwise.
        """
        ttl_s = self._environment.config.resume_ttl_s
        for live in [each for each in self._live.values() if each.sink is sink]:
            if closed or ttl_s <= 0.0:
                self.end(live)
            elif live.sink is sink:  # not resumed elsewhere while the others were parked
                await self._park(live, ttl_s)

    def end(self, live: LiveSession) -> None:
        """End a session at once and free its resources."""
        self._forget(live)
        live.fall_silent()
        task = self._tasks.get(live)
        if task is not None:
            task.cancel()

    async def _park(self, live: LiveSession, ttl_s: float) -> None:
        await self._detach(live)
        if live.sink is None and live in self._tasks and live not in self._parked:
            self._parked.park(live, ttl_s)

    async def _detach(self, live: LiveSession) -> None:
        self._uncarry(live)
        await live.detach()

    def _uncarry(self, live: LiveSession) -> None:
        if live.sink is not None:
            self._carried.pop((live.sink, live.session.id), None)

    def _forget(self, live: LiveSession) -> None:
        self._parked.release(live)
        if self._live.pop(live.session, None) is not None:
            self._uncarry(live)
        self.remove(live.session)
        self._environment.metrics.sessions.set(len(self))
        self.drain.look()

    async def _run(self, live: LiveSession) -> None:
        try:
            await live.run()
        except Exception:  # the edge of the session's task; its connection carries others too
            logger.exception("session %s failed", live.session.id)
            self._forget(live)  # first: on the error the client may open it again at once
            await live.report_fault()
        finally:
            self._forget(live)
