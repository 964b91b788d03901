"""One turn of speech as the client sees it: chunks go out, frames come in, whatever happens to the connection between."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

from orchestrator import wire
from orchestrator.client.errors import REFUSALS, LipSyncClientError, ServiceError, SessionLostError
from orchestrator.client.messages import End, Frame, Start, Switch
from orchestrator.types import AudioFormat, LipSyncModel

CHUNK_S: Final = 0.1
"""Length of the chunks that longer audio is cut into."""

KEPT_S: Final = 30.0
"""Audio kept to be sent again after a lost connection: as much as the service lets wait."""

MOST_UNREAD: Final = 750
"""Frames that wait for `frames()`, half a minute and more; beyond it the oldest goes."""

BYTES_PER_SAMPLE: Final = 2


class Sender(Protocol):
    """What a turn needs of its session."""

    async def send_audio(self, turn: ClientTurn, message: wire.WireAudio, audio: bytes) -> None:
        """Send a chunk now, or leave it to be sent once the connection is back."""
        ...

    async def send_end(self, turn: ClientTurn) -> None:
        """Send that the audio is complete, likewise."""
        ...

    async def send_interruption(self) -> None:
        """Give up the turn that is being spoken."""
        ...


class ClientTurn:
    """Made by a session. `send` audio and `end` it; meanwhile, or after, read `frames`."""

    def __init__(self, sender: Sender, first: wire.WireAudio, sample_rate: int, channels: int) -> None:
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
        """The service's own, once the turn is over; None too where the end was lost with a connection."""
        self.interrupted = False
        self.frames_received = 0
        self.frames_unread = 0
        """Frames that went because nobody read them."""
        self.speaking: asyncio.Task[None] | None = None
        """Sends the turn's audio in the background, where a session was given all of it at once."""
        self._sender = sender
        self._first = first
        self._sample_rate, self._channels = sample_rate, channels
        self._began_ms = 0.0
        self._samples_sent = 0
        self.chunks_sent = 0
        self._ended = False
        self._kept: deque[tuple[wire.WireAudio, bytes]] = deque(maxlen=round(KEPT_S / CHUNK_S))
        self._frames: deque[Frame] = deque()
        self._failure: LipSyncClientError | None = None
        self._news = asyncio.Event()

    @property
    def began_ms(self) -> float:
        """Timestamp of the first sample, milliseconds of this machine's clock; frame times count from it."""
        return self._began_ms

    async def send(self, pcm: bytes) -> None:
        """Audio as 16-bit little endian samples, interleaved; cut into chunks of 100 ms."""
        if self._failure is not None:
            raise self._failure
        step = round(CHUNK_S * self._sample_rate) * self._channels * BYTES_PER_SAMPLE
        for start in range(0, len(pcm), step):
            await self._send_chunk(pcm[start : start + step])

    async def send_in_real_time(self, pcm: bytes) -> None:
        """The same, chunk by chunk once each is spoken; returns when the last one was sent."""
        loop, began_s = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        step = round(CHUNK_S * self._sample_rate) * self._channels * BYTES_PER_SAMPLE
        for start in range(0, len(pcm), step):
            chunk = pcm[start : start + step]
            due_s = began_s + (start + len(chunk)) / step * CHUNK_S
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            await self.send(chunk)

    async def end(self) -> None:
        """The audio is complete; the frames of its tail follow."""
        if not self._ended:
            self._ended = True
            await self._sender.send_end(self)

    async def interrupt(self) -> None:
        """Give the turn up: the frames that wait here are dropped, and those at the service."""
        if self.speaking is not None:
            self.speaking.cancel()
        self._ended = True
        self._frames.clear()
        await self._sender.send_interruption()

    async def frames(self) -> AsyncIterator[Frame]:
        """Every frame in order until the turn is over. Raises `LipSyncClientError` when it cannot be spoken."""
        while True:
            while self._frames:
                yield self._frames.popleft()
            if self._failure is not None:
                raise self._failure
            if self.done:
                return
            self._news.clear()
            await self._news.wait()

    async def _send_chunk(self, audio: bytes) -> None:
        if self.chunks_sent == 0:
            self._began_ms = float(time.time_ns() // 1_000_000)
        chunk = wire.WireAudioChunk(
            data="",
            timestamp=round(self._began_ms + 1000.0 * self._samples_sent / self._sample_rate, 3),
            sequence_number=self.chunks_sent,
            sample_rate=self._sample_rate,
            channels=self._channels,
            format=AudioFormat.PCM,
        )
        first = self._first
        message = wire.WireAudio(first.session_id, first.user_id, chunk, turn_id=first.turn_id)
        if self.chunks_sent == 0:
            message = wire.WireAudio(
                first.session_id, first.user_id, chunk, first.face_model_id, first.model_preference, first.turn_id, first.config
            )
        self._samples_sent += len(audio) // (BYTES_PER_SAMPLE * self._channels)
        self.chunks_sent += 1
        self._kept.append((message, audio))
        await self._sender.send_audio(self, message, audio)

    # What the session passes on

    def waiting_from(self, next_chunk: int) -> list[tuple[wire.WireAudio, bytes]]:
        """Chunks from this number on, to be sent again."""
        return [(message, audio) for message, audio in self._kept if message.audio_chunk.sequence_number >= next_chunk]

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
            self.metrics, self.interrupted = message.metrics, message.interrupted
            self.finish()
        self._news.set()

    def finish(self, failure: LipSyncClientError | None = None) -> None:
        """No more frames will come."""
        self.done, self._failure = True, failure or self._failure
        self._kept.clear()
        if self.speaking is not None and failure is not None:
            self.speaking.cancel()
        self._news.set()

    def fail_or_warn(self, error: ServiceError) -> None:
        """An error of the session while this turn was the newest."""
        if not error.recoverable or (isinstance(error, REFUSALS) and not self.started):
            self.finish(error)
        else:
            self.warnings.append(error)

    def lose(self) -> None:
        """The service knows nothing of the turn any more."""
        self.finish(SessionLostError("the connection came back too late; the service has let go of the session"))

    def _take_frame(self, frame: Frame) -> None:
        self.frames_received += 1
        self.model = frame.model
        self._frames.append(frame)
        if len(self._frames) > MOST_UNREAD:
            self._frames.popleft()
            self.frames_unread += 1


def preference(model: str | None) -> LipSyncModel | None:
    """A model by its wire name, also one that only the service knows."""
    return None if model is None else LipSyncModel.own(model)
