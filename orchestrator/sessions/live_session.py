"""One session over sockets: its worker, its sender, and the connection that carries it.

The session outlives a lost connection for a while. Its work then pauses, and continues over the
connection by which the client comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from orchestrator import protocol
from orchestrator.audio.codecs.decoder import estimated_duration_s
from orchestrator.core.channel import ChannelClosedError
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode, unforeseen
from orchestrator.core.types import AudioChunk, LipSyncModel, Resolution, VideoGenerationConfig
from orchestrator.pipeline.session_events import Ending, Failed, InboxItem
from orchestrator.pipeline.session_state import Session, merged_config
from orchestrator.sessions.interfaces import MessageSink, SessionEnvironment
from orchestrator.sessions.resumption import count_from, position
from orchestrator.sessions.sender import Sender
from orchestrator.sessions.turn_tracker import TurnCounter
from orchestrator.sessions.worker import SessionWorker

WARNING_S: Final = 60.0
"""Time before its end at which a session is warned: enough to end a sentence and open another
session.
"""

STALE_S: Final = 2.0
"""After a lost connection, frames that could have left this long before are skipped: the viewer's
audio went on and is past them.
"""

TIME_OVER: Final = "MAX_SESSION_TIME"
"""Reason of the warning and of the end."""


class LiveSession:
    """Facade of one session for its socket, and owner of its tasks."""

    def __init__(
        self,
        session: Session,
        environment: SessionEnvironment,
        turn_over: Callable[[], None] = lambda: None,
    ) -> None:
        """`turn_over` is called whenever a `response_end` was sent."""
        config = environment.config
        self.session = session
        self.sink: MessageSink | None = None
        """Connection that carries the session; None while the client is away."""
        self.is_over = False
        """True once the time limit is reached: what is queued is sent, and audio is ignored."""
        self.turns = TurnCounter()
        self.config = VideoGenerationConfig()
        self._environment = environment
        self._worker = SessionWorker(
            session, environment.pipeline, pacing_lead_s=config.pacing_lead_ms / 1000.0
        )
        self._sender = Sender(session, environment, turn_over)

    @property
    def is_answering(self) -> bool:
        """True between a turn's `response_start` and its `response_end`."""
        return self._sender.is_answering

    async def run(self) -> None:
        """Run until everything is sent after the session's end. Raises unexpected exceptions."""
        try:
            async with asyncio.TaskGroup() as tasks:
                limit = tasks.create_task(self._end_in_time(), name=f"limit of {self.session.id}")
                tasks.create_task(self._worker.work(), name=f"work of {self.session.id}")
                await self._sender.finished.wait()
                limit.cancel()
                self._sender.check()
        finally:
            await self._sender.stop()

    # Messages of the client

    async def receive(self, request: protocol.AudioRequest) -> None:
        """Queue a chunk with its face, model preference and configuration; ignore one of an
        interrupted turn, and one that was received before the connection was lost.
        """
        if not self.turns.chunk(request.turn_id, request.chunk.sequence_number):
            return
        if request.model_preference is not None:
            await self.prefer(request.model_preference)
        self.update_config(request.config)
        await self._queue(request.chunk, request.face_model_id)

    def update_config(self, config: protocol.WireConfig) -> None:
        """Change the fields of the configuration that `config` sets, from the next turn on."""
        size = config.resolution
        self.config = merged_config(
            self.config,
            target_fps=config.target_fps,
            resolution=Resolution(size.width, size.height) if size else None,
            format=config.format,
            quality=config.quality,
            enable_interpolation=config.enable_interpolation,
        )

    async def end_turn(self) -> None:
        """Complete the newest turn: no more audio of it comes."""
        if self.turns.is_open:
            await self._queue(None)
            self.turns.end()

    async def interrupt(self, turn_id: str | None = None) -> None:
        """Cancel the turn of that id, or else the oldest unfinished one."""
        ordinal = await self._worker.interrupt(turn_id)
        if ordinal is not None:
            self.turns.interrupt(ordinal)

    async def prefer(self, model: LipSyncModel) -> None:
        """Prefer a model from the next frame on."""
        await self._worker.prefer(model)

    def report(self, report: protocol.ClientReport) -> None:
        """Apply the client's measurements to bitrate, model selection and synchronisation."""
        delivery, metrics = self.session.delivery, self._environment.metrics
        streaming, percent = self._environment.streaming, report.packet_loss_percent
        if report.bandwidth_kbps is not None or percent is not None:
            loss = None if percent is None else percent / 100.0
            metrics.bitrate_bps.observe(
                streaming.apply_report(delivery.stream, report.bandwidth_kbps, loss)
            )
            delivery.bandwidth_kbps = report.bandwidth_kbps or delivery.bandwidth_kbps
        if report.keyframe:
            delivery.stream.restart()
        if report.av_offset_ms is not None:
            metrics.av_offset_ms.observe(report.av_offset_ms)
            sent_ms = self._sender.sent_ms
            streaming.measure_sync(delivery.stream, sent_ms, sent_ms + report.av_offset_ms)

    async def _queue(self, chunk: AudioChunk | None, face_model_id: str | None = None) -> None:
        """Queue a chunk of the newest turn, or its end; ignored once the time limit is reached."""
        if self.is_over:
            return
        duration_ms = lost_ms = 0.0
        if chunk is not None:
            duration_ms = 1000.0 * estimated_duration_s(chunk)
            missing_ms = self.turns.lost_before(chunk, duration_ms)
            lost_ms = min(missing_ms, self._environment.config.inbox_ms)
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
        await self._worker.accept(item)

    # Connections

    def attach(self, sink: MessageSink) -> None:
        """Send messages over this connection from now on."""
        self.sink = sink
        self._sender.start(sink)

    async def detach(self) -> None:
        """Pause: the connection is lost. Messages that could not be sent stay queued."""
        self.sink = None
        self._worker.pause()
        await self._sender.stop()

    def resume(self, sink: MessageSink, seen: protocol.ResumeSession | None = None) -> None:
        """Continue over another connection; `seen` gives the frame that the client expects, so that
        frame numbers have no gap.
        """
        if seen is not None and seen.turn_id is not None and seen.next_frame is not None:
            count_from(self.session, seen.turn_id, seen.next_frame)
        self.turns.rejoin()
        delivery = self.session.delivery
        delivery.stale_before_s = asyncio.get_running_loop().time() - STALE_S
        self._worker.go_on()
        self._sender.require_keyframe()
        delivery.outbox.put_back(position(self.session, self.turns))
        self.attach(sink)

    def fall_silent(self) -> None:
        """Send nothing more: the session ends."""
        self._sender.cancel()

    async def report_fault(self) -> None:
        """Send the error of a session that an unexpected exception ended; its connection goes on
        for other sessions.
        """
        if self.sink is None:
            return
        try:
            await self.sink.send_error(unforeseen(), self.session.id)
        except ConnectionError:
            self.sink.abort()

    # Time limit

    async def _end_in_time(self) -> None:
        loop, max_s = asyncio.get_running_loop(), self._environment.config.max_session_s
        ends_s = loop.time() + max_s
        with suppress(ChannelClosedError):  # it ended before, and waits for a slow client
            await asyncio.sleep(max(0.0, max_s - WARNING_S))
            await self.session.delivery.outbox.put(Ending(TIME_OVER, ends_s))
            await asyncio.sleep(ends_s - loop.time())
            await self._end()

    async def _end(self) -> None:
        """Cancel the turn in progress and what is queued behind it, and send the reason."""
        session, self.is_over = self.session, True
        if self.sink is not None and self.turns.is_open:
            self.sink.cut_turn(session.id, self.turns.turn_id)
        await self.interrupt()
        # the chunk of a next turn that was completing this one is queued again
        await session.audio.inbox.discard(lambda _: True)
        await session.delivery.outbox.put(
            Failed(_time_over(self._environment.config.max_session_s))
        )
        await session.audio.inbox.close()
        if self.sink is None:
            self._sender.finished.set()


def _time_over(max_session_s: float) -> LipSyncError:
    message = f"the session lasted {max_session_s:g} s, which is the most; open another one"
    details = {"reason": TIME_OVER, "maxSessionS": max_session_s}
    return LipSyncError(LipSyncErrorCode.SESSION_LIMIT, message, recoverable=False, details=details)
