"""One session over sockets: its work goes on from one connection to the next, its messages leave
over the one it has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from orchestrator import protocol
from orchestrator.audio.codecs.decoder import estimated_duration_s
from orchestrator.core.channel import ChannelClosedError
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode, unforeseen
from orchestrator.core.logs import session_logged
from orchestrator.core.tracing import span_below
from orchestrator.core.types import AudioChunk, VideoGenerationConfig
from orchestrator.pipeline.session_events import (
    Ending,
    Failed,
    InboxItem,
    OutgoingFrame,
    Resumed,
    TurnEnded,
    TurnStarted,
)
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.sessions.outgoing import Saying, message_of
from orchestrator.sessions.service import LipSyncService
from orchestrator.sessions.turn_tracker import TurnCounter
from orchestrator.sessions.worker import SessionWorker

WARNING_S: Final = 60.0
"""Before its time is over a session is warned this long ahead: enough to end a sentence and open
another session.
"""

STALE_S: Final = 2.0
"""After a lost connection, frames that could have left this long before are skipped: the viewer's
audio went on and is past them.
"""

TIME_OVER: Final = "MAX_SESSION_TIME"
"""Reason of the warning and of the end."""


class Line(Protocol):
    """The way to the client: one connection."""

    async def write(self, message: protocol.ServerMessage) -> None:
        """Send; ConnectionError when the client is gone or takes nothing for too long."""
        ...

    async def tell(self, error: LipSyncError, session_id: str | None) -> None:
        """Send an error, and count it."""
        ...

    def cut(self, session_id: str, turn_id: str) -> None:
        """The session's time was over in the middle of this turn: the rest of its audio opens no
        other session.
        """
        ...

    async def answers(self) -> bool:
        """Whether the client is there: it answers a ping."""
        ...

    def hang_up(self) -> None:
        """Cut the connection, without a word."""
        ...


class Conversation:
    """A session, the turns that arrive for it, and the line its messages leave by; without one it
    waits.
    """

    def __init__(
        self,
        session: Session,
        service: LipSyncService,
        turn_over: Callable[[], None] = lambda: None,
    ) -> None:
        """`turn_over` is called whenever the client was told that a turn is over."""
        self.session = session
        self.live = SessionWorker(
            session, service.pipeline, pacing_lead_s=service.config.pacing_lead_ms / 1000.0
        )
        self.turns = TurnCounter()
        self.config = VideoGenerationConfig()
        self.line: Line | None = None
        self.is_over = False
        """Its time is over: it says what is left to say, and hears nothing more."""
        self.is_answering = False
        """The client was told that a turn began, and not yet that it is over."""
        self._service = service
        self._turn_over = turn_over
        self._sender: asyncio.Task[None] | None = None
        self._sender_fault: BaseException | None = None
        self._all_said = asyncio.Event()
        self._keyframe_due = False
        self._sent_ms = 0.0
        """Audio time of the newest frame that left."""

    async def run(self) -> None:
        """Until the session ends: nothing more to do and everything said, or its time is over.
        Raises what nobody foresaw.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                limit = tasks.create_task(self._end_in_time(), name=f"limit of {self.session.id}")
                tasks.create_task(self.live.work(), name=f"work of {self.session.id}")
                await self._all_said.wait()
                limit.cancel()
                if self._sender_fault is not None:
                    raise self._sender_fault
        finally:
            await self._stop_sending()

    async def tell_of_fault(self) -> None:
        """The session ended by a fault of the service: its client is told, and the line goes on for
        others.
        """
        if self.line is None:
            return
        try:
            await self.line.tell(unforeseen(), self.session.id)
        except ConnectionError:
            self.line.hang_up()

    def attach(self, line: Line) -> None:
        """Messages leave by this line from now on."""
        self.line = line
        with session_logged(self.session.id):
            self._sender = asyncio.create_task(self._send(line), name=f"send {self.session.id}")
        self._sender.add_done_callback(self._note_fault)

    async def detach(self) -> None:
        """The line is lost; what could not be sent stays, and nothing new is drawn."""
        self.line = None
        self.live.pause()
        await self._stop_sending()

    def fall_silent(self) -> None:
        """Send nothing more: the session ends."""
        if self._sender is not None:
            self._sender.cancel()

    def resume(self, line: Line, seen: protocol.ResumeSession | None = None) -> None:
        """Go on over another line; `seen` says which frame the client expects, so that numbers go
        on without a hole.
        """
        if seen is not None and seen.turn_id is not None and seen.next_frame is not None:
            self._count_from(seen.turn_id, seen.next_frame)
        self.turns.rejoin()
        self.session.delivery.stale_before_s = asyncio.get_running_loop().time() - STALE_S
        self.live.go_on()
        self._keyframe_due = True
        self.session.delivery.outbox.put_back(self._standing())
        self.attach(line)

    async def interrupt(self, turn_id: str | None = None) -> None:
        """Give up the turn of that id, or else the one that is being spoken."""
        given_up = await self.live.interrupt(turn_id)
        if given_up is not None:
            self.turns.interrupt(given_up)

    async def hear(self, chunk: AudioChunk | None, face_model_id: str | None = None) -> None:
        """Queue a chunk of the newest turn, or its end; ignored once the session's time is over."""
        if self.is_over:
            return
        duration_ms = 0.0 if chunk is None else 1000.0 * estimated_duration_s(chunk)
        lost_ms = (
            0.0
            if chunk is None
            else min(self.turns.lost_before(chunk, duration_ms), self._service.config.inbox_ms)
        )
        item = InboxItem(
            ordinal=self.turns.ordinal,
            turn_id=self.turns.turn_id,
            config=self.config,
            face_model_id=face_model_id,
            chunk=chunk,
            arrived_s=asyncio.get_running_loop().time(),
            duration_ms=duration_ms,
            lost_before_ms=lost_ms,
        )
        await self.live.accept(item)

    async def end_utterance(self) -> None:
        """The newest turn's audio is complete."""
        if self.turns.is_open:
            await self.hear(None)
            self.turns.end()

    def report(self, report: protocol.ClientReport) -> None:
        """What the client measured moves the bitrate, the choice of the model, and the time at
        which frames are shown.
        """
        session, metrics = self.session, self._service.metrics
        if report.bandwidth_kbps is not None or report.packet_loss_percent is not None:
            loss = (
                None if report.packet_loss_percent is None else report.packet_loss_percent / 100.0
            )
            metrics.bitrate_bps.observe(
                self._service.streaming.apply_report(
                    session.delivery.stream, report.bandwidth_kbps, loss
                )
            )
            session.delivery.bandwidth_kbps = (
                report.bandwidth_kbps or session.delivery.bandwidth_kbps
            )
        if report.keyframe:
            session.delivery.stream.restart()
        if report.av_offset_ms is None:
            return
        metrics.av_offset_ms.observe(report.av_offset_ms)
        self._service.streaming.measure_sync(
            session.delivery.stream, self._sent_ms, self._sent_ms + report.av_offset_ms
        )

    def _count_from(self, turn_id: str, next_frame: int) -> None:
        """Go by the client's count: `next_frame` frames of that turn came, and of those after it
        none.
        """
        unfinished = self._unfinished_turns()
        has_ended = all(turn.id != turn_id for turn in unfinished)
        for turn in unfinished:
            if has_ended:
                turn.delivery.frames_sent = 0
            elif turn.id == turn_id:
                turn.delivery.frames_sent = min(turn.delivery.frames_sent, next_frame)

    def _unfinished_turns(self) -> list[Turn]:
        waiting = [
            out.turn
            for out in self.session.delivery.outbox.items()
            if isinstance(out, OutgoingFrame | TurnStarted | TurnEnded)
        ]
        current = [self.session.audio.turn] if self.session.audio.turn is not None else []
        return list(dict.fromkeys(waiting + current))

    def _standing(self) -> Resumed:
        arriving = [self.turns.turn_id] if self.turns.is_open else []
        queued = [item.turn_id for item in self.session.audio.inbox.items()]
        unfinished = dict.fromkeys(
            [turn.id for turn in self._unfinished_turns()] + queued + arriving
        )
        next_chunk = self.turns.next_chunk if self.turns.is_open else 0
        return Resumed(
            self.turns.turn_id if self.turns.is_open else None, next_chunk, tuple(unfinished)
        )

    async def _end_in_time(self) -> None:
        loop, most_s = asyncio.get_running_loop(), self._service.config.max_session_s
        ends_s = loop.time() + most_s
        with suppress(
            ChannelClosedError
        ):  # it ended before, and only waits for a slow client to hear so
            await asyncio.sleep(max(0.0, most_s - WARNING_S))
            await self.session.delivery.outbox.put(Ending(TIME_OVER, ends_s))
            await asyncio.sleep(ends_s - loop.time())
            await self._end()

    async def _end(self) -> None:
        """The turn is given up, what waits behind it too, and the client is told why."""
        session, self.is_over = self.session, True
        if self.line is not None and self.turns.is_open:
            self.line.cut(session.id, self.turns.turn_id)
        await self.interrupt()
        await session.audio.inbox.discard(
            lambda _: True
        )  # also the chunk that was finishing this turn, which is back
        message = (
            f"the session lasted {self._service.config.max_session_s:g} s, which is the most; "
            "open another one"
        )
        details = {"reason": TIME_OVER, "maxSessionS": self._service.config.max_session_s}
        await session.delivery.outbox.put(
            Failed(
                LipSyncError(
                    LipSyncErrorCode.SESSION_LIMIT, message, recoverable=False, details=details
                )
            )
        )
        await session.audio.inbox.close()
        if self.line is None:
            self._all_said.set()

    async def _stop_sending(self) -> None:
        sender = self._sender
        if sender is not None:
            sender.cancel()
            await asyncio.wait([sender])
            self._sender = None if self._sender is sender else self._sender

    async def _send(self, line: Line) -> None:
        try:
            while True:
                await self._send_next(line)
        except ChannelClosedError:
            self._all_said.set()
        except ConnectionError:
            line.hang_up()

    def _note_fault(self, sender: asyncio.Task[None]) -> None:
        """What nobody foresaw in sending ends the session, not the line; that includes a
        cancellation that nobody asked for.
        """
        if not sender.cancelled():
            self._sender_fault = sender.exception()
        elif not sender.cancelling():
            self._sender_fault = RuntimeError("sending was cancelled from below")
        if self._sender_fault is not None:
            self._all_said.set()

    async def _send_next(self, line: Line) -> None:
        out = await self.session.delivery.outbox.get()
        began = time.perf_counter()
        if isinstance(out, OutgoingFrame) and not self._is_wanted(out):
            return
        if isinstance(out, TurnStarted):
            self.is_answering = True
        try:
            with span_below(out.trace if isinstance(out, OutgoingFrame) else None, "send"):
                if isinstance(out, Failed):
                    await line.tell(out.error, self.session.id)
                else:
                    await line.write(self._message(out))
        except (ConnectionError, asyncio.CancelledError):
            self.session.delivery.outbox.put_back(out)
            raise
        if isinstance(out, OutgoingFrame):
            self._service.metrics.observe_stage(
                "send", out.frame.format.value, time.perf_counter() - began
            )
            self._count(out, asyncio.get_running_loop().time())
        elif isinstance(out, TurnEnded):
            self.is_answering = False
            self._turn_over()

    def _message(self, out: Saying) -> protocol.ServerMessage:
        return message_of(
            self.session,
            out,
            self._service.pipeline,
            asyncio.get_running_loop().time(),
            self._service.instance,
        )

    def _is_wanted(self, out: OutgoingFrame) -> bool:
        """After a lost connection: not what is long past, and of H.264 nothing before a
        keyframe.
        """
        if out.ready_s < self.session.delivery.stale_before_s or (
            self._keyframe_due and not out.frame.is_keyframe
        ):
            self._keyframe_due = True
            return False
        self._keyframe_due = False
        return True

    def _count(self, out: OutgoingFrame, now: float) -> None:
        turn, frame, metrics = out.turn, out.frame, self._service.metrics
        latency_s = now - out.ready_s
        if turn.delivery.frames_sent == 0:
            metrics.first_frame_seconds.observe(now - turn.clock.started_s)
        turn.delivery.frames_sent += 1
        turn.delivery.bytes_sent += len(frame.data)
        turn.delivery.latencies_ms.append(latency_s * 1000.0)
        self._sent_ms = frame.audio_timestamp_ms
        if latency_s * turn.fps > 1.0:
            self._service.pipeline.note_underrun()
        self.session.delivery.stream.metrics.sent(len(frame.data), latency_s * 1000.0)
        metrics.frame_latency_seconds.observe(latency_s)
        metrics.count_frame(frame.lip_sync_model.value, frame.format.value)
