"""Send task of one session: messages from the outbox go to the connection that carries the session.

A message that could not be sent stays at the head of the outbox, so the next connection continues
with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from orchestrator import protocol
from orchestrator.core.channel import ChannelClosedError
from orchestrator.core.logs import session_logged
from orchestrator.core.tracing import span_below
from orchestrator.pipeline.session_events import (
    Failed,
    Outgoing,
    OutgoingFrame,
    TurnEnded,
    TurnStarted,
)
from orchestrator.pipeline.session_state import Session
from orchestrator.sessions.interfaces import MessageSink, SessionEnvironment
from orchestrator.sessions.outgoing import Message, message_of


class Sender:
    """Owns the send task of a session; writes the `delivery` of the turns."""

    def __init__(
        self, session: Session, environment: SessionEnvironment, turn_over: Callable[[], None]
    ) -> None:
        """`turn_over` is called whenever a `response_end` was sent."""
        self.is_answering = False
        """True between a turn's `response_start` and its `response_end`."""
        self.sent_ms = 0.0
        """Audio timestamp of the newest frame that was sent."""
        self.finished = asyncio.Event()
        """Set once everything was sent, or sending failed unexpectedly."""
        self._session = session
        self._environment = environment
        self._turn_over = turn_over
        self._task: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None
        self._keyframe_due = False

    def start(self, sink: MessageSink) -> None:
        """Send over this connection from now on."""
        with session_logged(self._session.id):
            self._task = asyncio.create_task(self._send(sink), name=f"send {self._session.id}")
        self._task.add_done_callback(self._note_fault)

    async def stop(self) -> None:
        """Cancel sending, and wait until it has ended."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            self._task = None if self._task is task else self._task

    def cancel(self) -> None:
        """Send nothing more: the session ends."""
        if self._task is not None:
            self._task.cancel()

    def require_keyframe(self) -> None:
        """Drop frames up to the next keyframe: the client lost the ones before."""
        self._keyframe_due = True

    def check(self) -> None:
        """Raise the unexpected exception that ended sending, if there is one."""
        if self._fault is not None:
            raise self._fault

    async def _send(self, sink: MessageSink) -> None:
        try:
            while True:
                await self._send_next(sink)
        except ChannelClosedError:
            self.finished.set()
        except ConnectionError:
            sink.abort()

    def _note_fault(self, task: asyncio.Task[None]) -> None:
        """An unexpected exception ends the session, not the connection. So does a cancellation that
        this class did not request.
        """
        if not task.cancelled():
            self._fault = task.exception()
        elif not task.cancelling():
            self._fault = RuntimeError("sending was cancelled from below")
        if self._fault is not None:
            self.finished.set()

    async def _send_next(self, sink: MessageSink) -> None:
        outbox = self._session.delivery.outbox
        out = await outbox.get()
        began_s = time.perf_counter()
        if isinstance(out, OutgoingFrame) and not self._is_wanted(out):
            return
        if isinstance(out, TurnStarted):
            self.is_answering = True
        try:
            with span_below(out.trace if isinstance(out, OutgoingFrame) else None, "send"):
                await self._write(sink, out)
        except (ConnectionError, asyncio.CancelledError):
            outbox.put_back(out)
            raise
        if isinstance(out, OutgoingFrame):
            self._count(out, time.perf_counter() - began_s)
        elif isinstance(out, TurnEnded):
            self.is_answering = False
            self._turn_over()

    async def _write(self, sink: MessageSink, out: Outgoing) -> None:
        if isinstance(out, Failed):
            await sink.send_error(out.error, self._session.id)
        else:
            await sink.send(self._message(out))

    def _message(self, out: Message) -> protocol.ServerMessage:
        environment, now = self._environment, asyncio.get_running_loop().time()
        return message_of(self._session, out, environment.pipeline, now, environment.instance)

    def _is_wanted(self, out: OutgoingFrame) -> bool:
        """False after a lost connection for frames that are stale, and for H.264 up to the next
        keyframe.
        """
        is_stale = out.ready_s < self._session.delivery.stale_before_s
        self._keyframe_due = is_stale or (self._keyframe_due and not out.frame.is_keyframe)
        return not self._keyframe_due

    def _count(self, out: OutgoingFrame, took_s: float) -> None:
        turn, frame, metrics = out.turn, out.frame, self._environment.metrics
        now = asyncio.get_running_loop().time()
        latency_s = now - out.ready_s
        metrics.observe_stage("send", frame.format.value, took_s)
        if turn.delivery.frames_sent == 0:
            metrics.first_frame_seconds.observe(now - turn.clock.started_s)
        turn.delivery.frames_sent += 1
        turn.delivery.bytes_sent += len(frame.data)
        turn.delivery.latencies_ms.append(latency_s * 1000.0)
        self.sent_ms = frame.audio_timestamp_ms
        if latency_s * turn.fps > 1.0:
            self._environment.pipeline.note_underrun()
        self._session.delivery.stream.metrics.sent(len(frame.data), latency_s * 1000.0)
        metrics.frame_latency_seconds.observe(latency_s)
        metrics.count_frame(frame.lip_sync_model.value, frame.format.value)
