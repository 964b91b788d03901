"""One turn of speech as the client sees it: chunks go out, frames come in, whatever happens to the
connection between.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

import msgspec

from orchestrator import protocol
from orchestrator.client.errors import REFUSALS, LipSyncClientError, ServiceError, refused_here
from orchestrator.client.messages import End, Frame, Start, Switch
from orchestrator.client.replay_buffer import KeptAudio
from orchestrator.core.types import AudioFormat, LipSyncModel

logger = logging.getLogger(__name__)

CHUNK_S: Final = 0.1
"""Length of the chunks that longer audio is cut into."""

MOST_UNREAD: Final = 750
"""Frames that wait for `frames()`, half a minute and more; beyond it the oldest goes."""

BYTES_PER_SAMPLE: Final = 2


class Sender(Protocol):
    """What a turn needs of its session."""

    async def take_floor(self, turn: ClientTurn) -> None:
        """Wait until the audio of this turn may be sent: a recording interrupts no other turn, and
        is interrupted by none.
        """
        ...

    async def send_audio(self, message: protocol.WireAudio, audio: bytes) -> None:
        """Send a chunk now, or leave it to be sent once the connection is back."""
        ...

    async def send_end(self, turn: ClientTurn) -> None:
        """Send that the audio is complete, likewise; a turn without audio is over by that."""
        ...

    async def send_interruption(self, turn: ClientTurn) -> None:
        """Give this turn up at the service."""
        ...


class ClientTurn:
    """Made by a session. `send` audio and `end` it; meanwhile, or after, read `frames`."""

    def __init__(
        self, sender: Sender, first: protocol.WireAudio, sample_rate: int, channels: int
    ) -> None:
        """`first` is what the turn's first chunk says; later ones say only what they must."""
        self.id = first.turn_id or ""
        self.started = False
        """Whether the service has begun to answer."""
        self.done = False
        """Whether no more frames will come."""
        self.model: str | None = None
        """That draws now."""
        self.switches: list[Switch] = []
        self.warnings: list[ServiceError] = []
        """Errors that the turn survived."""
        self.metrics: dict[str, Any] | None = None
        """The service's own, once the turn is over; None too where the end was lost with a
        connection.
        """
        self.interrupted = False
        """Whether it was given up, by this client or by the service."""
        self.frames_received = 0
        self.frames_unread = 0
        """Frames that went because nobody read them."""
        self.speaking: asyncio.Task[None] | None = None
        """Sends the turn's audio in the background, where a session was given all of it at once."""
        self.audio_over = asyncio.Event()
        """Set once no more audio of the turn will be sent."""
        self._sender = sender
        self._first = first
        self._sample_rate, self._channels = sample_rate, channels
        self._began_ms = 0.0
        self._samples_sent = 0
        self.chunks_sent = 0
        self._ended = False
        self._part = b""
        """Of a sample that the last piece broke off."""
        self._kept = KeptAudio(self._bytes_of(1.0))
        self._frames: deque[Frame] = deque()
        self._failure: LipSyncClientError | None = None
        self._news = asyncio.Event()

    @property
    def began_ms(self) -> float:
        """Timestamp of the first sample, milliseconds of this machine's clock; frame times count
        from it.
        """
        return self._began_ms

    async def send(self, pcm: bytes) -> None:
        """Audio as 16-bit little endian samples, interleaved, in pieces of any length; cut into
        chunks of 100 ms.

        Raises what `frames` raises, and `LipSyncClientError` once the turn is over. What comes
        after an interruption is passed over.
        """
        if self._failure is not None:
            raise self._failure
        if self.interrupted:
            return
        if self._ended or self.done:
            raise LipSyncClientError(f"{self.id} is over; begin another turn")
        pcm = self._part + pcm
        whole = len(pcm) - len(pcm) % (BYTES_PER_SAMPLE * self._channels)
        self._part = pcm[whole:]
        step = self._bytes_of(CHUNK_S)
        for start in range(0, whole, step):
            await self._send_chunk(pcm[start : min(start + step, whole)])

    async def send_in_real_time(self, pcm: bytes) -> None:
        """The same, chunk by chunk once each is spoken; returns when the last one was sent."""
        await self._sender.take_floor(self)
        loop, began_s = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        step = self._bytes_of(CHUNK_S)
        for start in range(0, len(pcm), step):
            chunk = pcm[start : start + step]
            due_s = began_s + (start + len(chunk)) / step * CHUNK_S
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            await self.send(chunk)

    async def speak(self, pcm: bytes) -> None:
        """A whole turn in the background; what goes wrong is for the reader of its frames."""
        try:
            await self.send_in_real_time(pcm)
            await self.end()
        except LipSyncClientError as error:
            self.finish(error)
        except Exception as error:
            logger.exception("%s: the audio could not be sent", self.id)
            self.finish(LipSyncClientError(f"the audio could not be sent: {error}"))

    async def end(self) -> None:
        """The audio is complete; the frames of its tail follow."""
        if self._ended or self.done:
            return
        self._ended = True
        try:
            await self._sender.send_end(self)
        finally:
            self.audio_over.set()

    async def interrupt(self) -> None:
        """Give this turn up, spoken or still waiting: its frames here are dropped, and those at the
        service. Others go on.
        """
        if self.done or self.interrupted:
            return
        if self.speaking is not None:
            self.speaking.cancel()
        self.interrupted = self._ended = True
        self._frames.clear()
        self.audio_over.set()
        await self._sender.send_interruption(self)

    async def frames(self) -> AsyncIterator[Frame]:
        """Every frame in order until the turn is over. Raises `LipSyncClientError` when it cannot
        be spoken.
        """
        while True:
            while self._frames:
                yield self._frames.popleft()
            if self._failure is not None:
                raise self._failure
            if self.done:
                return
            self._news.clear()
            await self._news.wait()

    def _bytes_of(self, seconds: float) -> int:
        return round(seconds * self._sample_rate) * self._channels * BYTES_PER_SAMPLE

    async def _send_chunk(self, audio: bytes) -> None:
        if self.chunks_sent == 0:
            await self._sender.take_floor(self)
            self._began_ms = float(time.time_ns() // 1_000_000)
        if self.audio_over.is_set():  # given up while it waited
            return
        chunk = protocol.WireAudioChunk(
            data="",
            timestamp=round(self._began_ms + 1000.0 * self._samples_sent / self._sample_rate, 3),
            sequence_number=self.chunks_sent,
            sample_rate=self._sample_rate,
            channels=self._channels,
            format=AudioFormat.PCM,
        )
        self._samples_sent += len(audio) // (BYTES_PER_SAMPLE * self._channels)
        self.chunks_sent += 1
        self._kept.add(chunk, audio)
        await self._sender.send_audio(self._message(chunk, opens=chunk.sequence_number == 0), audio)

    def _message(self, chunk: protocol.WireAudioChunk, *, opens: bool) -> protocol.WireAudio:
        first = self._first
        if opens:
            return msgspec.structs.replace(first, audio_chunk=chunk)
        return protocol.WireAudio(first.session_id, first.user_id, chunk, turn_id=first.turn_id)

    # What the session passes on

    def waiting_from(self, next_chunk: int) -> list[tuple[protocol.WireAudio, bytes]]:
        """Chunks from this number on, to be sent again; where that is the whole turn, the first
        says what it is to be.
        """
        waiting = enumerate(self._kept.since(next_chunk))
        return [
            (self._message(chunk, opens=next_chunk == place == 0), audio)
            for place, (chunk, audio) in waiting
        ]

    @property
    def can_begin_anew(self) -> bool:
        """Whether a service that knows nothing of the turn can still speak all of it."""
        return not self.started and not self.interrupted and self._kept.has_all

    @property
    def audio_complete(self) -> bool:
        """Whether `end` was called."""
        return self._ended

    def take(self, message: Frame | Start | End | Switch) -> None:
        """A message of this turn."""
        if isinstance(message, Frame):
            self._take_frame(message)
        elif isinstance(message, Start):
            self.started, self.model = True, message.model
        elif isinstance(message, Switch):
            self.switches.append(message)
            self.model = message.after
        else:
            self.metrics, self.interrupted = (
                message.metrics,
                message.interrupted or self.interrupted,
            )
            self.finish()
        self._news.set()

    def finish(self, failure: LipSyncClientError | None = None) -> None:
        """No more frames will come."""
        self.done, self._failure = True, failure or self._failure
        self._kept.clear()
        self.audio_over.set()
        if self.speaking is not None and self.speaking is not asyncio.current_task():
            self.speaking.cancel()
        self._news.set()

    def fail_or_warn(self, error: ServiceError) -> None:
        """An error of the session while this turn was the newest."""
        if not error.recoverable or (isinstance(error, REFUSALS) and not self.started):
            self.finish(error)
        else:
            self.warnings.append(error)

    def _take_frame(self, frame: Frame) -> None:
        self.frames_received += 1
        if self.interrupted:
            return
        self.model = frame.model
        self._frames.append(frame)
        if len(self._frames) > MOST_UNREAD:
            self._frames.popleft()
            self.frames_unread += 1


def preference(model: str | None) -> LipSyncModel | None:
    """A model by its wire name, also one that only the service knows; InvalidMessageError for what
    cannot be a name.
    """
    try:
        return None if model is None else LipSyncModel.own(model)
    except ValueError as error:
        raise refused_here("model", str(error)) from None
