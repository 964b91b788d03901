"""One session's work: audio from the inbox becomes frames in the outbox, paced, in order, and
interruptible.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from orchestrator.core.channel import ChannelClosedError
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.logs import session_logged
from orchestrator.core.tracing import here, span
from orchestrator.core.types import AudioChunk, LipSyncModel
from orchestrator.models.base import ModelSpec
from orchestrator.pipeline.frame_pipeline import Batch, FramePipeline
from orchestrator.pipeline.session_events import (
    Failed,
    InboxItem,
    OutgoingFrame,
    Switched,
    TurnEnded,
    TurnStarted,
)
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.slow_model_policy import GivingWay, Waiting, after_look
from orchestrator.pipeline.turn import Turn

BATCH_FRAMES: Final = 4
"""Most frames asked of a model at once: little enough for a deadline to mean something, enough to
share a request.
"""

STALE_S: Final = 2.0
"""After a lost connection, frames that should have left this long before are skipped: a viewer
whose sound went on is past them.
"""

MOST_SILENCE_MS: Final = 30_000.0
"""What stands in for a chunk is never longer, whatever that chunk said of itself; longer silence is
drawn piece by piece.
"""

EPISODE_ENDS_BELOW: Final = 0.5
"""Inbox fill under which a later overflow is reported anew."""


class LiveSession:
    """Owns the task that works on a session's turns."""

    def __init__(self, session: Session, pipeline: FramePipeline, *, pacing_lead_s: float) -> None:
        self.session = session
        self._pipeline = pipeline
        self._metrics = pipeline.metrics
        self._pacing_lead_s = pacing_lead_s
        self._step: asyncio.Task[None] | None = None
        self._step_item: InboxItem | None = None
        self._given_up: set[int] = set()
        """Ordinals of interrupted turns."""
        self._overflowing = False
        self._refusal_untold = False
        self._refused_face: tuple[int, str | None] | None = None
        """Turn and id of the last face that could not be had: its error was told."""
        self._connected = asyncio.Event()
        self._connected.set()
        self._keyframe_due = False
        self.stale_before_s = -math.inf
        """Frames that should have left before are skipped."""

    def pause(self) -> None:
        """The connection is lost: what was said waits, and nothing is drawn that nobody would
        see.
        """
        self._connected.clear()

    def go_on(self) -> None:
        """The client is back. It saw no picture for a while, so the next one stands alone."""
        self.stale_before_s = asyncio.get_running_loop().time() - STALE_S
        self._keyframe_due = True
        self._connected.set()

    async def accept(self, item: InboxItem) -> None:
        """Queue an item without waiting; what overflows becomes silence and is reported once per
        episode.
        """
        inbox = self.session.audio.inbox
        if item.chunk is not None:
            self.session.audio.heard_s = item.arrived_s
        dropped = await inbox.offer(item, droppable=lambda old: old.chunk is not None)
        self._metrics.inbox_fill.observe(inbox.fill)
        self._metrics.audio_lost_seconds_total.inc(
            sum(lost.duration_ms for lost in dropped) / 1000.0
        )
        for lost in dropped:
            heir = next((later for later in inbox.items() if later.ordinal == lost.ordinal), None)
            if heir is not None:
                heir.lost_before_ms += min(lost.duration_ms, MOST_SILENCE_MS) + lost.lost_before_ms
        if dropped and not self._overflowing:
            message = (
                "more audio is waiting than the service keeps; the oldest was replaced by "
                "silence: send it at most in real time"
            )
            details = {
                "field": "audioChunk.data",
                "lostMs": sum(lost.duration_ms for lost in dropped),
            }
            await self.session.delivery.outbox.put(
                Failed(LipSyncError(LipSyncErrorCode.BUFFER_OVERFLOW, message, details=details))
            )
        self._overflowing = bool(dropped) or (
            self._overflowing and inbox.fill >= EPISODE_ENDS_BELOW
        )

    async def prefer(self, model: LipSyncModel) -> None:
        """Ask for another model from the next frame on; a client that asks for one that the
        operator refuses is told, once.
        """
        if model is not self.session.models.preference:
            self.session.models.preference, self._refusal_untold = model, True
            if self.session.face.current is not None:
                await self._tell_refusal()

    async def _tell_refusal(self) -> None:
        """Once the face is known, since the alternative depends on it."""
        untold, self._refusal_untold = self._refusal_untold, False
        refusal = await self._pipeline.choice.refusal(self.session) if untold else None
        if refusal is not None:
            await self.session.delivery.outbox.put(Failed(refusal))

    async def work(self) -> None:
        """Until the inbox closes or the session cannot get a face; then the outbox closes too."""
        try:
            while await self._run(await self.session.audio.inbox.get()):
                pass
        except ChannelClosedError:
            pass
        finally:
            await self.session.delivery.outbox.close()

    async def interrupt(self, turn_id: str | None = None) -> int | None:
        """Give up the turn of that id, or else the one that is being spoken or waits longest; its
        ordinal, or None when there is none.
        """
        session, turn, unfinished = self.session, self.session.audio.turn, self._unfinished()
        ordinal = next((ordinal for ordinal, name in unfinished if turn_id in (None, name)), None)
        removed = await session.delivery.outbox.discard(
            lambda out: isinstance(out, OutgoingFrame) and turn_id in (None, out.turn.id)
        )
        self._metrics.frames_dropped_total.labels("interruption").inc(removed)
        if ordinal is None:
            return None
        self._given_up = {ordinal, *(each for each in self._given_up if each > unfinished[0][0])}
        await session.audio.inbox.discard(lambda item: item.ordinal == ordinal)
        self._stop_work_on(ordinal)
        session.delivery.stream.restart()
        if turn is not None and turn.ordinal == ordinal:
            await self._end(turn, interrupted=True)
        return ordinal

    def _unfinished(self) -> list[tuple[int, str]]:
        """Ordinal and id of every turn that is to be spoken, in their order."""
        turn, item = self.session.audio.turn, self._step_item
        begun = [(turn.ordinal, turn.id)] if turn is not None else []
        waiting = ([item] if item is not None else []) + list(self.session.audio.inbox.items())
        return begun + [(item.ordinal, item.turn_id) for item in waiting]

    def _stop_work_on(self, ordinal: int) -> None:
        """Cancel the step that works on this turn; where it is a chunk of the next turn that
        finishes this one, the chunk waits again.
        """
        turn, item = self.session.audio.turn, self._step_item
        if self._step is None or item is None:
            return
        worked_on = item.ordinal if turn is None else turn.ordinal
        if worked_on == ordinal and item.ordinal != ordinal:
            self.session.audio.inbox.put_back(item)
        if worked_on == ordinal:
            self._step.cancel()

    async def _run(self, item: InboxItem) -> bool:
        """Handle one item; False when the session cannot go on."""
        if item.ordinal in self._given_up:
            return True
        self._step_item = item
        self._step = asyncio.create_task(
            self._handle(item), name=f"{item.turn_id} of {self.session.id}"
        )
        try:
            await self._step
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
        except LipSyncError as error:
            await self.session.delivery.outbox.put(Failed(error))
            return self.session.face.current is not None
        finally:
            self._step = self._step_item = None
        return True

    async def _handle(self, item: InboxItem) -> None:
        """One item, under its ids in log and trace."""
        if (
            item.chunk is not None and self.session.audio.turn is not None
        ):  # before a turn's first chunk there are preparations to begin with
            await self._pipeline.batch_window.gather(item.arrived_s)
        ids: dict[str, str | int] = {"session.id": self.session.id, "turn.id": item.turn_id}
        if item.chunk is not None:
            ids["chunk.number"] = item.chunk.sequence_number
        with (
            session_logged(self.session.id, item.turn_id),
            span("end of turn" if item.chunk is None else "chunk", **ids),
        ):
            await self._advance(item)

    async def _advance(self, item: InboxItem) -> None:
        turn = self.session.audio.turn
        if turn is not None and turn.ordinal != item.ordinal:
            await self._finish(turn, item.arrived_s)
            turn = None
        if item.ordinal in self._given_up:  # meanwhile
            return
        if item.chunk is not None:
            await self._open_face(item)
            turn = turn or await self._begin(item)
        if turn is None:
            return
        if item.lost_before_ms > 0.0:
            await self._fill(turn, item.lost_before_ms)
        if item.chunk is None:
            await self._finish(turn, item.arrived_s)
        else:
            await self._hear(turn, item, item.chunk)
            await self._speak(turn)

    async def _open_face(self, item: InboxItem) -> None:
        """The face of the chunk. One that cannot be had is told once in a turn, and the session
        goes on with the face that it has.
        """
        asked = (item.ordinal, item.face_model_id)
        try:
            await self._pipeline.open_face(
                self.session, None if asked == self._refused_face else item.face_model_id
            )
        except LipSyncError as error:
            if self.session.face.current is None:
                raise
            self._refused_face = asked
            await self.session.delivery.outbox.put(Failed(_passing(error)))

    async def _hear(self, turn: Turn, item: InboxItem, chunk: AudioChunk) -> None:
        """The chunk's sound, or silence in its place: what is said after a chunk that cannot be
        decoded keeps its time.
        """
        try:
            with self._metrics.stage("decode", chunk.format.value):
                turn.push(chunk, item.arrived_s)
        except LipSyncError as error:
            lost_ms = min(item.duration_ms, MOST_SILENCE_MS)
            turn.push_silence(lost_ms, item.arrived_s)
            self._metrics.audio_lost_seconds_total.inc(lost_ms / 1000.0)
            await self.session.delivery.outbox.put(Failed(_passing(error, lostMs=lost_ms)))

    async def _fill(self, turn: Turn, lost_ms: float) -> None:
        """Silence in place of what was lost, due by its own time, since nothing waited for it."""
        while lost_ms > MOST_SILENCE_MS:
            turn.push_silence(MOST_SILENCE_MS, turn.clock.started_s)
            lost_ms -= MOST_SILENCE_MS
            await self._speak(turn)
        turn.push_silence(lost_ms, turn.clock.started_s)

    async def _begin(self, item: InboxItem) -> Turn:
        assert item.chunk is not None
        session = self.session
        if len(session.audio.inbox) == 0:
            session.models.slow = GivingWay()
        first = await self._pipeline.warm_up(session, item.config.resolution.width)
        began_ms = item.chunk.timestamp_ms - item.lost_before_ms
        turn = Turn(
            item.turn_id,
            item.ordinal,
            item.config,
            began_ms,
            item.arrived_s,
            session.audio.idle_s,
            pacing_lead_s=self._pacing_lead_s,
        )
        waited_ms = (asyncio.get_running_loop().time() - item.arrived_s) * 1000.0
        session.audio.turn, session.models.current = turn, session.models.current or first
        await self._tell_refusal()
        await session.delivery.outbox.put(
            TurnStarted(turn, first, item.chunk.timestamp_ms + waited_ms)
        )
        poster = await self._pipeline.poster(session, item.config.resolution.width)
        if poster is not None:
            await session.delivery.outbox.put(poster)
        return turn

    async def _finish(self, turn: Turn, now: float) -> None:
        turn.finish(now)
        await self._speak(turn)
        await self._end(turn, interrupted=False)

    async def _end(self, turn: Turn, *, interrupted: bool) -> None:
        self.session.audio.turn = None
        self.session.audio.idle_s = turn.end_idle_s
        await self.session.delivery.outbox.put(TurnEnded(turn, interrupted=interrupted))

    async def _speak(self, turn: Turn) -> None:
        """Draw every frame whose look-ahead has arrived, but for those that a slow client or a slow
        model is spared.
        """
        while True:
            await self._connected.wait()
            models = await self._pipeline.choice.select_model(self.session)
            await self._tell_of_unserved_preference(models[0])
            spec = self._pipeline.choice.spec(models[0])
            count = turn.frames_ready(spec, BATCH_FRAMES)
            if count <= 0:
                return
            if stale := turn.clock.stale_frames(turn.next_frame, count, spec, self.stale_before_s):
                turn.skip(stale)
                continue
            now = asyncio.get_running_loop().time()
            late_s = now - turn.clock.ready_s(turn.next_frame, spec)
            self._note_lateness(turn, late_s, now)
            kept = self._pipeline.kept_frames(self.session, turn, count, late_s)
            if not kept:
                turn.skip(count)
                continue
            await self._pace(turn, turn.next_frame + count - 1)
            batch = await self._pipeline.next_frames(self.session, turn, models, count, kept)
            await self._deliver(turn, batch, spec)
            if count < BATCH_FRAMES and batch.switch is None:
                return  # these were all

    def _note_lateness(self, turn: Turn, late_s: float, now: float) -> None:
        session = self.session
        waiting = Waiting(
            late_s,
            session.audio.inbox.fill,
            session.audio.inbox_s,
            session.audio.is_heard(now),
            turn.generation.batch_load,
        )
        session.models.slow = after_look(session.models.slow, waiting, turn.generation.model, now)

    async def _tell_of_unserved_preference(self, model: LipSyncModel) -> None:
        """Once for each wish: the client is told which model speaks instead, and why."""
        session, wished = self.session, self.session.models.preference
        if wished is None or session.models.reported_preference is wished:
            return
        session.models.reported_preference = wished
        if wished is not model and not self._pipeline.choice.why_refused(
            wished
        ):  # a refusal is an error of its own
            await session.delivery.outbox.put(
                Switched(wished, model, await self._pipeline.choice.why_unserved(session, wished))
            )

    async def _deliver(self, turn: Turn, batch: Batch, spec: ModelSpec) -> None:
        outbox, trace = self.session.delivery.outbox, here()
        force_keyframe, self._keyframe_due = self._keyframe_due or batch.switch is not None, False
        coded = await self._pipeline.prepare_for_streaming(
            self.session, turn, batch.frames, force_keyframe=force_keyframe
        )
        if batch.switch is not None:
            await outbox.put(Switched(batch.switch.before, batch.switch.after, batch.switch.reason))
        departures_s = turn.clock.departures_s(batch.slots, turn.next_frame - 1, spec)
        for frame, ready_s in zip(coded, departures_s, strict=True):
            await outbox.put(OutgoingFrame(turn, frame, ready_s, trace))
        self._metrics.outbox_fill.observe(outbox.fill)

    async def _pace(self, turn: Turn, frame: int) -> None:
        """Wait until a frame may leave; audio that came in a burst must not flood the client."""
        wait_s = turn.clock.due_s(frame) - asyncio.get_running_loop().time()
        if wait_s > 0.0:
            await asyncio.sleep(wait_s)


def _passing(error: LipSyncError, **details: float) -> LipSyncError:
    """The same, as told to a session that goes on."""
    return LipSyncError(
        error.code,
        error.message,
        recoverable=True,
        fallback_available=error.fallback_available,
        details=error.details | details,
    )
