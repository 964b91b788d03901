"""One turn of speech in the client: sends chunks and yields frames, across lost connections."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

import msgspec

from orchestrator import protocol
from orchestrator.client.audio_chunks import CHUNK_S, AudioChunks
from orchestrator.client.errors import TURN_REFUSALS, LipSyncClientError, ServiceError
from orchestrator.client.messages import End, Frame, Start, Switch
from orchestrator.client.replay_buffer import ReplayBuffer

logger = logging.getLogger(__name__)

MAX_UNREAD_FRAMES: Final = 750
"""Frames buffered for `frames()`, 30 s at 25 frames a second; beyond it the oldest is dropped."""


class TurnSession(Protocol):
    """Interface of the session that a turn sends through."""

    async def wait_for_queue(self, turn: ClientTurn) -> None:
        """Wait until the audio of this turn may be sent.

        A recording interrupts no other turn and is interrupted by none.
        """
        ...

    async def send_audio(self, message: protocol.WireAudio, audio: bytes) -> None:
        """Send a chunk now, or leave it to be replayed once the connection is back."""
        ...

    async def send_end(self, turn: ClientTurn) -> None:
        """Send the end of the audio, or leave it to be replayed; an empty turn just ends."""
        ...

    async def send_interruption(self, turn: ClientTurn) -> None:
        """Interrupt this turn at the service."""
        ...


class ClientTurn:
    """One turn of speech, made by a session: `send` audio and `end` it, and read its `frames`."""

    def __init__(
        self, session: TurnSession, first: protocol.WireAudio, sample_rate: int, channels: int
    ) -> None:
        """`first` holds the settings of the turn's first chunk; later chunks omit them.

        `sample_rate` is in Hz.
        """
        self.id = first.turn_id or ""
        self.started = False
        """True once the service has begun to respond."""
        self.done = False
        """True once no more frames will come."""
        self.model: str | None = None
        """Model that generates the frames at present."""
        self.switches: list[Switch] = []
        self.warnings: list[ServiceError] = []
        """Errors that the turn survived."""
        self.metrics: dict[str, Any] | None = None
        """The service's metrics of the turn; None before its end, or where the end was lost."""
        self.interrupted = False
        """True once the turn was interrupted, by this client or by the service."""
        self.frames_received = 0
        self.frames_unread = 0
        """Frames that were dropped because the program did not read them."""
        self.recording: asyncio.Task[None] | None = None
        """Task that sends a whole recording; None for a turn that is sent piece by piece."""
        self.audio_done = asyncio.Event()
        """Set once no more audio of the turn will be sent."""
        self._session = session
        self._first = first
        self._chunks = AudioChunks(sample_rate, channels)
        self._ended = False
        self._replay = ReplayBuffer(self._chunks.bytes_of(1.0))
        self._frames: deque[Frame] = deque()
        self._failure: LipSyncClientError | None = None
        self._changed = asyncio.Event()

    @property
    def began_ms(self) -> float:
        """Timestamp of the first sample, in milliseconds of this machine's clock."""
        return self._chunks.began_ms

    @property
    def chunks_sent(self) -> int:
        """Chunks that were sent or buffered for a replay."""
        return self._chunks.count

    async def send(self, pcm: bytes) -> None:
        """Send audio: 16-bit little-endian samples, interleaved, in pieces of any length.

        The audio is cut into chunks of 100 ms. After an interruption it is dropped. Raises the
        errors of `frames`, and LipSyncClientError once the turn is over.
        """
        if self._failure is not None:
            raise self._failure
        if self.interrupted:
            return
        if self._ended or self.done:
            raise LipSyncClientError(f"{self.id} is over; begin another turn")
        for audio in self._chunks.cut(pcm):
            await self._send_chunk(audio)

    async def send_in_real_time(self, pcm: bytes) -> None:
        """Send audio in chunks at the speed of speech; return once the last one was sent."""
        await self._session.wait_for_queue(self)
        loop, began_s = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        step = self._chunks.bytes_of(CHUNK_S)
        for start in range(0, len(pcm), step):
            chunk = pcm[start : start + step]
            due_s = began_s + (start + len(chunk)) / step * CHUNK_S
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            await self.send(chunk)

    async def send_recording(self, pcm: bytes) -> None:
        """Send a whole turn in real time; `frames` raises what goes wrong."""
        try:
            await self.send_in_real_time(pcm)
            await self.end()
        except LipSyncClientError as error:
            self.finish(error)
        except Exception as error:
            logger.exception("%s: the audio could not be sent", self.id)
            self.finish(LipSyncClientError(f"the audio could not be sent: {error}"))

    async def end(self) -> None:
        """End the audio; the frames of its last part follow."""
        if self._ended or self.done:
            return
        self._ended = True
        try:
            await self._session.send_end(self)
        finally:
            self.audio_done.set()

    async def interrupt(self) -> None:
        """Interrupt this turn, in progress or queued; other turns continue.

        Its frames are dropped, here and at the service.
        """
        if self.done or self.interrupted:
            return
        if self.recording is not None:
            self.recording.cancel()
        self.interrupted = self._ended = True
        self._frames.clear()
        self.audio_done.set()
        await self._session.send_interruption(self)

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield every frame in order until the turn is over; LipSyncClientError when it fails."""
        while True:
            while self._frames:
                yield self._frames.popleft()
            if self._failure is not None:
                raise self._failure
            if self.done:
                return
            self._changed.clear()
            await self._changed.wait()

    async def _send_chunk(self, audio: bytes) -> None:
        if self.chunks_sent == 0:
            await self._session.wait_for_queue(self)
            self._chunks.start_clock()
        if self.audio_done.is_set():  # interrupted while it waited
            return
        chunk = self._chunks.stamp(audio)
        self._replay.add(chunk, audio)
        message = self._message(chunk, opens=chunk.sequence_number == 0)
        await self._session.send_audio(message, audio)

    def _message(self, chunk: protocol.WireAudioChunk, *, opens: bool) -> protocol.WireAudio:
        first = self._first
        if opens:
            return msgspec.structs.replace(first, audio_chunk=chunk)
        return protocol.WireAudio(first.session_id, first.user_id, chunk, turn_id=first.turn_id)

    # Called by the session

    def chunks_from(self, next_chunk: int) -> list[tuple[protocol.WireAudio, bytes]]:
        """Buffered chunks from this number on, to be sent again.

        For `next_chunk` 0 the first one carries the turn's settings, even where older chunks were
        evicted.
        """
        return [
            (self._message(chunk, opens=next_chunk == place == 0), audio)
            for place, (chunk, audio) in enumerate(self._replay.since(next_chunk))
        ]

    @property
    def can_restart(self) -> bool:
        """True while a service that knows nothing of the turn could still generate all of it."""
        return not self.started and not self.interrupted and self._replay.is_complete

    @property
    def audio_complete(self) -> bool:
        """True once `end` or `interrupt` was called."""
        return self._ended

    def receive(self, message: Frame | Start | End | Switch) -> None:
        """Handle a message of this turn."""
        if isinstance(message, Frame):
            self._receive_frame(message)
        elif isinstance(message, Start):
            self.started, self.model = True, message.model
        elif isinstance(message, Switch):
            self.switches.append(message)
            self.model = message.after
        else:
            self.metrics = message.metrics
            self.interrupted = message.interrupted or self.interrupted
            self.finish()
        self._changed.set()

    def finish(self, failure: LipSyncClientError | None = None) -> None:
        """End the turn; `frames` raises `failure` after the frames that are buffered."""
        self.done, self._failure = True, failure or self._failure
        self._replay.clear()
        self.audio_done.set()
        if self.recording is not None and self.recording is not asyncio.current_task():
            self.recording.cancel()
        self._changed.set()

    def fail_or_warn(self, error: ServiceError) -> None:
        """Handle an error of the session while this turn is in progress."""
        if not error.recoverable or (isinstance(error, TURN_REFUSALS) and not self.started):
            self.finish(error)
        else:
            self.warnings.append(error)

    def _receive_frame(self, frame: Frame) -> None:
        self.frames_received += 1
        if self.interrupted:
            return
        self.model = frame.model
        self._frames.append(frame)
        if len(self._frames) > MAX_UNREAD_FRAMES:
            self._frames.popleft()
            self.frames_unread += 1
