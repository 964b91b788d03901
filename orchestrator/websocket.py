"""One WebSocket connection: its receive loop, and for each of its sessions a work and a send task."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from aiohttp import WSMsgType, web

from orchestrator import wire
from orchestrator.allowance import Allowance
from orchestrator.audio.decode import estimated_duration_s
from orchestrator.auth import Caller
from orchestrator.channel import ChannelClosedError
from orchestrator.config import ServiceConfig
from orchestrator.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.live import LiveSession
from orchestrator.metrics import Metrics
from orchestrator.service import LipSyncService
from orchestrator.session import (
    Failed,
    InboxItem,
    OutgoingFrame,
    Session,
    SessionRegistry,
    Switched,
    TurnCounter,
    TurnEnded,
    TurnStarted,
    merged_config,
)
from orchestrator.streaming.bitrate import after_report
from orchestrator.turn import Turn
from orchestrator.types import AudioChunk, Resolution, VideoGenerationConfig

logger = logging.getLogger(__name__)

ALLOWANCE_BURST_S: Final = 2.0
"""Seconds' worth of messages that may come at once."""

_TOO_MANY: Final = "message: more messages than a connection may send; send chunks of 100 ms, in real time or a little faster"


@dataclass(slots=True)
class _Conversation:
    session: Session
    live: LiveSession
    turns: TurnCounter
    config: VideoGenerationConfig
    tasks: asyncio.Task[None]


class Connection:
    """Speaks the wire of `docs/protocol.md` on one socket."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        service: LipSyncService,
        sessions: SessionRegistry,
        metrics: Metrics,
        config: ServiceConfig,
        caller: Caller,
    ) -> None:
        self._socket = socket
        self._service = service
        self._sessions = sessions
        self._metrics = metrics
        self._config = config
        self._caller = caller
        self._allowance = Allowance(config.max_messages_per_s, burst_s=ALLOWANCE_BURST_S)
        self._conversations: dict[str, _Conversation] = {}

    async def run(self) -> None:
        """Until the client goes away; then its sessions end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                try:
                    await self._receive(tasks)
                finally:
                    for conversation in list(self._conversations.values()):
                        conversation.tasks.cancel()
        finally:
            for conversation in list(self._conversations.values()):
                self._forget(conversation.session)

    async def _receive(self, tasks: asyncio.TaskGroup) -> None:
        async for message in self._socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await self._answer(message.data, tasks)

    async def _answer(self, data: str | bytes, tasks: asyncio.TaskGroup) -> None:
        session_id: str | None = None
        try:
            if not self._allowance.take(asyncio.get_running_loop().time()):
                raise LipSyncError(
                    LipSyncErrorCode.BUFFER_OVERFLOW, _TOO_MANY, details={"maxMessagesPerSecond": self._config.max_messages_per_s}
                )
            message, payload = self._parse(data)
            session_id = message.session_id
            await self._handle(message, payload, tasks)
        except LipSyncError as error:
            await self._tell(error, session_id or wire.session_of(data))

    def _parse(self, data: str | bytes) -> tuple[wire.ClientMessage, bytes | None]:
        if isinstance(data, str):
            return wire.parse(data), None
        if self._socket.ws_protocol != wire.BINARY_SUBPROTOCOL:
            raise invalid_field("message", f"is binary; send JSON as a text message, or ask for the subprotocol {wire.BINARY_SUBPROTOCOL}")
        return wire.parse_binary(data)

    async def _handle(self, message: wire.ClientMessage, payload: bytes | None, tasks: asyncio.TaskGroup) -> None:
        if isinstance(message, wire.WireAudio):
            await self._audio(wire.audio_request(message, payload), tasks)
            return
        conversation = self._conversation(message.session_id)
        if isinstance(message, wire.EndUtterance):
            await self._end_utterance(conversation)
        elif isinstance(message, wire.Interruption):
            await self._interrupt(conversation)
        elif isinstance(message, wire.SwitchModel):
            await conversation.live.prefer(message.model)
        elif isinstance(message, wire.ClientReport):
            await self._report(conversation.session, message)
        else:
            await self._end_session(conversation)

    async def _audio(self, request: wire.AudioRequest, tasks: asyncio.TaskGroup) -> None:
        self._caller.check(request.user_id)
        conversation = self._conversations.get(request.session_id) or self._open(request, tasks)
        if request.user_id != conversation.session.user_id:
            message = f"userId: session {request.session_id!r} belongs to another user"
            raise LipSyncError(LipSyncErrorCode.UNAUTHORIZED, message, details={"field": "userId"})
        if not conversation.turns.chunk(request.turn_id, request.chunk.sequence_number):
            return
        if request.model_preference is not None:
            await conversation.live.prefer(request.model_preference)
        size = request.config.resolution
        conversation.config = merged_config(
            conversation.config,
            target_fps=request.config.target_fps,
            resolution=Resolution(size.width, size.height) if size else None,
            format=request.config.format,
            quality=request.config.quality,
            enable_interpolation=request.config.enable_interpolation,
        )
        await conversation.live.accept(self._item(conversation, request.face_model_id, request.chunk))

    async def _report(self, session: Session, report: wire.ClientReport) -> None:
        """What the client measured moves the bitrate, the choice of the model, and the time at which frames are shown."""
        if report.bandwidth_kbps is not None or report.packet_loss_percent is not None:
            loss = None if report.packet_loss_percent is None else report.packet_loss_percent / 100.0
            now = asyncio.get_running_loop().time()
            session.stream.bitrate = after_report(session.stream.bitrate, report.bandwidth_kbps, loss, now)
            session.bandwidth_kbps = report.bandwidth_kbps or session.bandwidth_kbps
            self._metrics.bitrate_bps.observe(session.stream.bitrate.target_bps)
        if report.av_offset_ms is None:
            return
        self._metrics.av_offset_ms.observe(report.av_offset_ms)
        if not session.stream.sync.report(report.av_offset_ms):
            message = (
                f"avOffsetMs: sound and picture are {session.stream.sync.offset_ms:.0f} ms apart, more than can be corrected; start anew"
            )
            raise LipSyncError(LipSyncErrorCode.SYNC_ERROR, message, details={"field": "avOffsetMs"})

    async def _end_utterance(self, conversation: _Conversation) -> None:
        item = self._item(conversation, None, None)
        if conversation.turns.end():
            await conversation.live.accept(item)

    async def _interrupt(self, conversation: _Conversation) -> None:
        spoken = await conversation.live.interrupt()
        if spoken is not None:
            conversation.turns.interrupt(spoken)

    async def _end_session(self, conversation: _Conversation) -> None:
        conversation.tasks.cancel()
        self._forget(conversation.session)

    def _item(self, conversation: _Conversation, face_model_id: str | None, chunk: AudioChunk | None) -> InboxItem:
        return InboxItem(
            ordinal=conversation.turns.ordinal,
            turn_id=conversation.turns.turn_id,
            config=conversation.config,
            face_model_id=face_model_id,
            chunk=chunk,
            arrived_s=asyncio.get_running_loop().time(),
            duration_ms=0.0 if chunk is None else 1000.0 * estimated_duration_s(chunk),
        )

    def _conversation(self, session_id: str) -> _Conversation:
        conversation = self._conversations.get(session_id)
        if conversation is None:
            raise invalid_field("sessionId", f"no session {session_id!r} on this connection; a lipsync_audio message opens one")
        return conversation

    def _open(self, request: wire.AudioRequest, tasks: asyncio.TaskGroup) -> _Conversation:
        session = Session(request.session_id, request.user_id, inbox_ms=self._config.inbox_ms, outbox_frames=self._config.outbox_frames)
        self._sessions.add(session)
        self._metrics.sessions.set(len(self._sessions))
        live = LiveSession(session, self._service.pipeline, pacing_lead_s=self._config.pacing_lead_ms / 1000.0)
        running = tasks.create_task(self._converse(live), name=f"session {session.id}")
        conversation = _Conversation(session, live, TurnCounter(), VideoGenerationConfig(), running)
        self._conversations[session.id] = conversation
        return conversation

    async def _converse(self, live: LiveSession) -> None:
        """Work and send until the session ends; a session that ends alone leaves the connection standing."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(live.work(), name=f"work {live.session.id}")
                tasks.create_task(self._send(live.session), name=f"send {live.session.id}")
        finally:
            self._forget(live.session)

    def _forget(self, session: Session) -> None:
        self._sessions.remove(session)
        self._metrics.sessions.set(len(self._sessions))
        conversation = self._conversations.get(session.id)
        if conversation is not None and conversation.session is session:
            del self._conversations[session.id]

    async def _send(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                out = await session.outbox.get()
            except ChannelClosedError:
                return
            if isinstance(out, Failed):
                await self._tell(out.error, session.id)
                continue
            await self._write(_message(session, out, self._service))
            if isinstance(out, OutgoingFrame):
                self._count(out, loop.time())

    async def _tell(self, error: LipSyncError, session_id: str | None) -> None:
        self._metrics.errors_total.labels(error.code.value).inc()
        logger.info("session %s: %s: %s", session_id, error.code.value, error.message)
        await self._write(wire.error_message(error, session_id))

    async def _write(self, message: wire.ServerMessage) -> None:
        """Raises ConnectionError when the client is gone or takes nothing for too long."""
        try:
            async with asyncio.timeout(self._config.send_timeout_s):
                if isinstance(message, wire.ResponseVideo) and self._socket.ws_protocol == wire.BINARY_SUBPROTOCOL:
                    await self._socket.send_bytes(wire.dump_binary(message))
                else:
                    await self._socket.send_str(wire.dump(message))
        except TimeoutError:
            raise ConnectionResetError("the client takes no data") from None

    def _count(self, out: OutgoingFrame, now: float) -> None:
        turn, frame = out.turn, out.frame
        latency_s = now - out.ready_s
        if turn.frames_sent == 0:
            self._metrics.first_frame_seconds.observe(now - turn.started_s)
        turn.frames_sent += 1
        turn.latencies_ms.append(latency_s * 1000.0)
        self._metrics.frame_latency_seconds.observe(latency_s)
        self._metrics.frames_total.labels(frame.lip_sync_model.value, frame.format.value).inc()


def _message(session: Session, out: OutgoingFrame | TurnStarted | TurnEnded | Switched, service: LipSyncService) -> wire.ServerMessage:
    if isinstance(out, OutgoingFrame):
        return wire.video_message(session.id, out.turn.id, out.frame)
    if isinstance(out, TurnStarted):
        weights = service.pipeline.weights_warning(out.model) or msgspec.UNSET
        return wire.ResponseStart(session.id, out.turn.id, out.model, wire.wire_time(out.timestamp_ms), weights)
    if isinstance(out, TurnEnded):
        return wire.ResponseEnd(session.id, out.turn.id, _turn_metrics(out.turn), out.interrupted)
    return wire.ModelSwitched(session.id, out.before, out.after, out.reason, service.pipeline.weights_warning(out.after) or msgspec.UNSET)


def _turn_metrics(turn: Turn) -> wire.TurnMetrics:
    latencies = np.array(turn.latencies_ms or [0.0])
    return wire.TurnMetrics(
        frames_generated=turn.next_frame,
        frames_dropped=turn.next_frame - turn.frames_sent,
        average_latency_ms=round(float(latencies.mean()), 2),
        p95_latency_ms=round(float(np.percentile(latencies, 95)), 2),
        model_used=turn.model,
        model_switches=turn.switches,
    )
