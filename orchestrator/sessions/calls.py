"""Sessions of direct calls: each chunk returns the frames whose look-ahead it completes, unpaced.

Calls use the same directory, pipeline and session state as the sessions over sockets. Instead of a
worker task a session has a lock: its calls run one after the other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from orchestrator.core.errors import invalid_field
from orchestrator.core.types import (
    AudioChunk,
    GeneratedFrame,
    LipSyncModel,
    StreamingFrame,
    VideoGenerationConfig,
)
from orchestrator.pipeline.session_events import OutgoingFrame
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.sessions.directory import SessionDirectory
from orchestrator.sessions.interfaces import SessionEnvironment
from orchestrator.sessions.worker import BATCH_FRAMES
from orchestrator.video.av_sync import SyncState, sync_state
from orchestrator.video.stream_state import StreamState


@dataclass(frozen=True, slots=True)
class LipSyncRequest:
    """One chunk of a session's speech."""

    session_id: str
    user_id: str
    audio_chunk: AudioChunk
    face_model_id: str | None = None
    """None: the user's active face, or the session's."""
    config: VideoGenerationConfig | None = None
    """Takes effect with the next turn."""
    model_preference: LipSyncModel | None = None


@dataclass(frozen=True, slots=True)
class ResponseMetrics:
    """Cost of one call."""

    processing_time_ms: float
    model_used: LipSyncModel | None
    """None where no frame was due yet."""
    frames_generated: int


@dataclass(frozen=True, slots=True)
class LipSyncResponse:
    """Frames whose look-ahead is complete with this chunk."""

    session_id: str
    frames: list[GeneratedFrame]
    sync_state: SyncState
    """Offset of the newest frame at the viewer, by the last `calculate_sync_state`; 0 before."""
    metrics: ResponseMetrics


class Calls:
    """Opens sessions for calls and generates their frames."""

    def __init__(self, sessions: SessionDirectory, environment: SessionEnvironment) -> None:
        self._sessions = sessions
        self._environment = environment

    async def process(self, request: LipSyncRequest) -> LipSyncResponse:
        """Frames for one more chunk. The first request of a session opens it, unless its chunk
        cannot be decoded; the first after a turn's end begins a turn.
        """
        while True:
            session, opened = self._session_for(request)
            async with session.calls.working:
                if self._sessions.get(session.key) is not session:
                    continue  # the request that opened it failed meanwhile
                try:
                    return await self._process(session, request)
                finally:
                    if opened and session.calls.turns == 0:
                        self._sessions.remove(session)

    async def end_turn(self, session_id: str) -> LipSyncResponse:
        """Last frames of the turn, with silence behind its audio."""
        session = self.session(session_id)
        async with session.calls.working:
            turn = session.audio.turn
            if turn is None:
                raise invalid_field(
                    "sessionId", f"session {session_id!r} has no open turn; send audio first"
                )
            turn.finish(asyncio.get_running_loop().time())
            response = await self._respond(session, turn)
            session.audio.turn, session.audio.idle_s = None, turn.end_idle_s
            return response

    def session(self, session_id: str) -> Session:
        """The session of that id; raises INVALID_MESSAGE without one."""
        session = self._sessions.called(session_id)
        if session is None:
            raise invalid_field(
                "sessionId", f"no session {session_id!r}; process_lip_sync opens one"
            )
        return session

    def stream_of(self, session_id: str) -> StreamState | None:
        """Stream of the session; None without one."""
        session = self._sessions.called(session_id)
        return None if session is None else session.delivery.stream

    def waiting_frames(self, session_id: str) -> list[StreamingFrame]:
        """Encoded frames in the outbox of the session, oldest first."""
        return waiting_frames(self.session(session_id))

    def end(self, session_id: str) -> None:
        """Forget the session; one that is not open is no error."""
        session = self._sessions.called(session_id)
        if session is not None:
            self._sessions.remove(session)

    def _session_for(self, request: LipSyncRequest) -> tuple[Session, bool]:
        """Session of a request, and True if it was opened for it."""
        session, config = self._sessions.called(request.session_id), self._environment.config
        if session is None:
            session = Session(
                request.session_id,
                request.user_id,
                inbox_ms=config.inbox_ms,
                outbox_frames=config.outbox_frames,
            )
            self._sessions.add(session)
            return session, True
        if session.user_id != request.user_id:
            raise invalid_field("userId", f"session {request.session_id!r} belongs to another user")
        return session, False

    async def _process(self, session: Session, request: LipSyncRequest) -> LipSyncResponse:
        now, pipeline = asyncio.get_running_loop().time(), self._environment.pipeline
        if request.model_preference is not None:
            pipeline.prefer(session, request.model_preference)
        await pipeline.faces.open_face(session, request.face_model_id)
        turn = session.audio.turn or await self._new_turn(session, request, now)
        turn.push(request.audio_chunk, now)
        session.audio.turn, session.audio.heard_s = turn, now
        session.calls.turns, session.calls.config = turn.ordinal, turn.config
        return await self._respond(session, turn)

    async def _new_turn(self, session: Session, request: LipSyncRequest, now: float) -> Turn:
        """Next turn of the session; it counts once its first chunk is decoded."""
        config, ordinal = request.config or VideoGenerationConfig(), session.calls.turns + 1
        await self._environment.pipeline.faces.warm_up(session, config.resolution.width)
        return Turn(
            f"turn-{ordinal:03d}",
            ordinal,
            config,
            request.audio_chunk.timestamp_ms,
            now,
            session.audio.idle_s,
        )

    async def _respond(self, session: Session, turn: Turn) -> LipSyncResponse:
        began_s, frames = asyncio.get_running_loop().time(), list[GeneratedFrame]()
        pipeline = self._environment.pipeline
        while batch := await pipeline.next_batch(session, turn, limit=BATCH_FRAMES):
            frames += batch.frames
        shown_ms = frames[-1].audio_timestamp_ms if frames else turn.clock.first_timestamp_ms
        took_ms = (asyncio.get_running_loop().time() - began_s) * 1000.0
        used = frames[-1].lip_sync_model if frames else None
        sync = session.delivery.stream.sync
        state = sync_state(shown_ms, shown_ms + sync.offset_ms, sync.correction_ms)
        metrics = ResponseMetrics(took_ms, used, len(frames))
        return LipSyncResponse(session.id, frames, state, metrics)


def waiting_frames(session: Session) -> list[StreamingFrame]:
    """Encoded frames in the outbox of a session, oldest first."""
    waiting = session.delivery.outbox.items()
    return [out.frame for out in waiting if isinstance(out, OutgoingFrame)]
