"""Start of a live session's turns: the face, the models, the poster, and a refused preference."""

from __future__ import annotations

import asyncio

from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import LipSyncModel
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.pipeline.session_events import Failed, InboxItem, TurnStarted
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn


class TurnStart:
    """Prepares the turns of one session; helper of its worker."""

    def __init__(self, session: Session, pipeline: FramePipeline, *, pacing_lead_s: float) -> None:
        """Frames leave up to `pacing_lead_s` seconds ahead of real time."""
        self._session = session
        self._pipeline = pipeline
        self._pacing_lead_s = pacing_lead_s
        self._refusal_pending = False
        """True until the client was sent the refusal of its preference, if there is one."""
        self._refused_face: tuple[int, str | None] | None = None
        """Turn and id of the last face that could not be loaded; its error was sent."""

    async def prefer(self, model: LipSyncModel) -> None:
        """Prefer a model from the next frame on; send an error once if the operator refuses it."""
        if self._pipeline.prefer(self._session, model):
            self._refusal_pending = True
            if self._session.face.current is not None:
                await self._send_refusal()

    async def open_face(self, item: InboxItem) -> None:
        """Open the face that a chunk names. If that fails, send the error once a turn, and keep the
        session's face; raises the error for a session without one.
        """
        requested = (item.ordinal, item.face_model_id)
        face_id = None if requested == self._refused_face else item.face_model_id
        try:
            await self._pipeline.faces.open_face(self._session, face_id)
        except LipSyncError as error:
            if self._session.face.current is None:
                raise
            self._refused_face = requested
            await self._session.delivery.outbox.put(Failed(recoverable(error)))

    async def begin(self, item: InboxItem) -> Turn:
        """Begin the turn of its first chunk, and queue `response_start` and the poster."""
        assert item.chunk is not None
        session, size = self._session, item.config.resolution.width
        first = await self._pipeline.faces.warm_up(session, size)
        turn = Turn(
            item.turn_id,
            item.ordinal,
            item.config,
            item.chunk.timestamp_ms - item.lost_before_ms,
            item.arrived_s,
            session.audio.idle_s,
            pacing_lead_s=self._pacing_lead_s,
        )
        waited_ms = (asyncio.get_running_loop().time() - item.arrived_s) * 1000.0
        session.audio.turn = turn
        self._pipeline.note_first_model(session, first)
        await self._send_refusal()
        started = TurnStarted(turn, first, item.chunk.timestamp_ms + waited_ms)
        await session.delivery.outbox.put(started)
        poster = await self._pipeline.faces.poster(session, size)
        if poster is not None:
            await session.delivery.outbox.put(poster)
        return turn

    async def _send_refusal(self) -> None:
        """Send a pending refusal; it needs the face, which decides the alternative."""
        pending, self._refusal_pending = self._refusal_pending, False
        refusal = await self._pipeline.refusal(self._session) if pending else None
        if refusal is not None:
            await self._session.delivery.outbox.put(Failed(refusal))


def recoverable(error: LipSyncError, **details: float) -> LipSyncError:
    """Copy of an error for a session that goes on."""
    return LipSyncError(
        error.code,
        error.message,
        recoverable=True,
        fallback_available=error.fallback_available,
        details=error.details | details,
    )
