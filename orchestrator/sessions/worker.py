"""Worker task of one session: audio from the inbox becomes frames in the outbox.

Frames leave paced, in order, and can be interrupted. `SessionWorker` is the only writer of a live
session's `TurnAudio`, together with its intake.
"""

from __future__ import annotations

import asyncio
from typing import Final

from orchestrator.core.channel import ChannelClosedError
from orchestrator.core.errors import LipSyncError
from orchestrator.core.logs import session_logged
from orchestrator.core.tracing import here, span
from orchestrator.core.types import AudioChunk, LipSyncModel
from orchestrator.pipeline.frame_pipeline import Batch, FramePipeline
from orchestrator.pipeline.model_switch import Switch
from orchestrator.pipeline.session_events import (
    Failed,
    InboxItem,
    OutgoingFrame,
    Switched,
    TurnEnded,
)
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.sessions.intake import MAX_SILENCE_MS, Intake
from orchestrator.sessions.steps import Steps
from orchestrator.sessions.turn_start import TurnStart, recoverable

BATCH_FRAMES: Final = 4
"""Most frames requested from a model at once: few enough for a useful deadline, enough to share a
request.
"""


class SessionWorker:
    """Owns the task that works on a session's turns."""

    def __init__(self, session: Session, pipeline: FramePipeline, *, pacing_lead_s: float) -> None:
        """Frames leave up to `pacing_lead_s` seconds ahead of real time."""
        self.session = session
        self._pipeline = pipeline
        self._metrics = pipeline.metrics
        self._intake = Intake(session, pipeline.metrics)
        self._start = TurnStart(session, pipeline, pacing_lead_s=pacing_lead_s)
        self._steps = Steps(session.audio)
        self._connected = asyncio.Event()
        self._connected.set()
        self._keyframe_due = False

    def pause(self) -> None:
        """Stop generating: the connection is lost. Audio that has arrived stays queued."""
        self._connected.clear()

    def go_on(self) -> None:
        """Continue: the client is back. Its first frame is a keyframe."""
        self._keyframe_due = True
        self._connected.set()

    async def accept(self, item: InboxItem) -> None:
        """Queue an item without waiting for the pipeline; see `Intake`."""
        await self._intake.accept(item)

    async def prefer(self, model: LipSyncModel) -> None:
        """Prefer a model from the next frame on; send an error once if the operator refuses it."""
        await self._start.prefer(model)

    async def work(self) -> None:
        """Run until the inbox closes or the session cannot get a face; then close the outbox."""
        try:
            while await self._run(await self.session.audio.inbox.get()):
                pass
        except ChannelClosedError:
            pass
        finally:
            await self.session.delivery.outbox.close()

    async def interrupt(self, turn_id: str | None = None) -> int | None:
        """Cancel the turn of that id, or else the oldest unfinished one; returns its ordinal, or
        None if there is none.
        """
        turn, unfinished = self.session.audio.turn, self._steps.unfinished()
        ordinal = next((ordinal for ordinal, name in unfinished if turn_id in (None, name)), None)
        removed = await self.session.delivery.outbox.discard(
            lambda out: isinstance(out, OutgoingFrame) and turn_id in (None, out.turn.id)
        )
        self._metrics.frames_dropped_total.labels("interruption").inc(removed)
        if ordinal is None:
            return None
        await self._steps.interrupt(ordinal)
        self.session.delivery.stream.restart()
        if turn is not None and turn.ordinal == ordinal:
            await self._end(turn, interrupted=True)
        return ordinal

    async def _run(self, item: InboxItem) -> bool:
        """Handle one item; False when the session cannot go on."""
        if self._steps.is_interrupted(item):
            return True
        name = f"{item.turn_id} of {self.session.id}"
        error = await self._steps.run(item, self._handle(item), name)
        if error is not None:
            await self.session.delivery.outbox.put(Failed(error))
        return error is None or self.session.face.current is not None

    async def _handle(self, item: InboxItem) -> None:
        """Handle one item with its ids in log and trace."""
        if item.chunk is not None and self.session.audio.turn is not None:
            # a turn's first chunk has preparations to begin with, so it does not wait
            await self._pipeline.batch_window.gather(item.arrived_s)
        ids: dict[str, str | int] = {"session.id": self.session.id, "turn.id": item.turn_id}
        if item.chunk is not None:
            ids["chunk.number"] = item.chunk.sequence_number
        name = "end of turn" if item.chunk is None else "chunk"
        with session_logged(self.session.id, item.turn_id), span(name, **ids):
            await self._advance(item)

    async def _advance(self, item: InboxItem) -> None:
        turn = self.session.audio.turn
        if turn is not None and turn.ordinal != item.ordinal:
            await self._finish(turn, item.arrived_s)
            turn = None
        if self._steps.is_interrupted(item):  # meanwhile
            return
        if item.chunk is not None:
            await self._start.open_face(item)
            turn = turn or await self._start.begin(item)
        if turn is None:
            return
        if item.lost_before_ms > 0.0:
            await self._push_silence(turn, item.lost_before_ms)
        if item.chunk is None:
            await self._finish(turn, item.arrived_s)
        else:
            await self._push(turn, item, item.chunk)
            await self._generate(turn)

    async def _push(self, turn: Turn, item: InboxItem, chunk: AudioChunk) -> None:
        """Decode the chunk, or push silence in its place: audio after a chunk that cannot be
        decoded keeps its time.
        """
        try:
            with self._metrics.stage("decode", chunk.format.value):
                turn.push(chunk, item.arrived_s)
        except LipSyncError as error:
            lost_ms = min(item.duration_ms, MAX_SILENCE_MS)
            turn.push_silence(lost_ms, item.arrived_s)
            self._metrics.audio_lost_seconds_total.inc(lost_ms / 1000.0)
            await self.session.delivery.outbox.put(Failed(recoverable(error, lostMs=lost_ms)))

    async def _push_silence(self, turn: Turn, lost_ms: float) -> None:
        """Push silence for lost audio. It is due by its own time, since nothing waited for it."""
        while lost_ms > MAX_SILENCE_MS:
            turn.push_silence(MAX_SILENCE_MS, turn.clock.started_s)
            lost_ms -= MAX_SILENCE_MS
            await self._generate(turn)
        turn.push_silence(lost_ms, turn.clock.started_s)

    async def _finish(self, turn: Turn, now: float) -> None:
        turn.finish(now)
        await self._generate(turn)
        await self._end(turn, interrupted=False)

    async def _end(self, turn: Turn, *, interrupted: bool) -> None:
        self.session.audio.turn = None
        self.session.audio.idle_s = turn.end_idle_s
        await self.session.delivery.outbox.put(TurnEnded(turn, interrupted=interrupted))

    async def _generate(self, turn: Turn) -> None:
        """Generate and queue every frame whose look-ahead has arrived, while the client is
        connected.
        """
        is_last = False
        while not is_last:
            await self._connected.wait()
            batch = await self._pipeline.next_batch(
                self.session, turn, limit=BATCH_FRAMES, notify=self._notify
            )
            if batch is None:
                return
            if batch.frames:
                await self._deliver(turn, batch)
            is_last = batch.is_last

    async def _notify(self, switch: Switch) -> None:
        switched = Switched(switch.before, switch.after, switch.reason)
        await self.session.delivery.outbox.put(switched)

    async def _deliver(self, turn: Turn, batch: Batch) -> None:
        outbox, trace = self.session.delivery.outbox, here()
        force_keyframe, self._keyframe_due = self._keyframe_due, False
        encoded = await self._pipeline.encode(
            self.session, turn, batch, force_keyframe=force_keyframe
        )
        if batch.switch is not None:
            await self._notify(batch.switch)
        for frame, ready_s in zip(encoded, batch.departures_s, strict=True):
            await outbox.put(OutgoingFrame(turn, frame, ready_s, trace))
        self._metrics.outbox_fill.observe(outbox.fill)
