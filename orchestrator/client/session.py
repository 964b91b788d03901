"""One conversation with a face: its turns, its wishes, and how it goes on when the connection was lost."""

from __future__ import annotations

import asyncio
import wave
from pathlib import Path
from typing import Final, Protocol

from orchestrator import wire
from orchestrator.client.errors import LipSyncClientError, ServiceError, service_error
from orchestrator.client.messages import (
    End,
    Frame,
    Poster,
    Refused,
    Resumed,
    ServerMessage,
    Start,
    Switch,
    Warned,
    audio_bytes,
    audio_text,
    text,
)
from orchestrator.client.turn import BYTES_PER_SAMPLE, ClientTurn, preference
from orchestrator.types import AudioFormat

CALLS_PER_WORKER: Final = 6
"""A service of several processes keeps a session in one of them, and a connection reaches any: calls made until that one is met."""


class Wire(Protocol):
    """What a session needs of its client."""

    @property
    def is_binary(self) -> bool:
        """Whether audio and pictures travel as bytes."""
        ...

    async def send(self, message: str | bytes) -> bool:
        """Send now; False when there is no connection at the moment."""
        ...

    async def call_again(self) -> None:
        """Give this connection up for another one."""
        ...


class ClientSession:
    """Made by `LipSyncClient.session`. Its first chunk opens it at the service."""

    def __init__(self, line: Wire, session_id: str, user: str, face: str | None, model: str | None, config: wire.WireConfig) -> None:
        self.id = session_id
        self.user = user
        self.face = face
        """Counts from the next turn on; None: the user's active face."""
        self.model = model
        self.config = config
        self.poster: Poster | None = None
        """The face at rest, once the service sent it."""
        self.ends_in_s: float | None = None
        """From the service's warning that the session's time is nearly over."""
        self.resumptions = 0
        """How often it went on after a lost connection."""
        self._line = line
        self._turns: dict[str, ClientTurn] = {}
        self._turn_count = 0
        self._is_open = False
        self._is_resuming = False
        self._calls = 0
        """In vain, since the connection was lost."""
        self._wishes: list[str] = []
        """Messages that wait for the connection to come back."""

    def turn(self, *, sample_rate: int = 16_000, channels: int = 1) -> ClientTurn:
        """A new turn; `sample_rate` 8000 to 48000 Hz and 1 or 2 `channels` of the audio to come."""
        self._turn_count += 1
        turn_id = f"turn-{self._turn_count:03d}"
        chunk = wire.WireAudioChunk("", 0.0, 0, sample_rate, channels, AudioFormat.PCM)
        first = wire.WireAudio(self.id, self.user, chunk, self.face, preference(self.model), turn_id, self.config)
        turn = self._turns[turn_id] = ClientTurn(self, first, sample_rate, channels)
        return turn

    def say(self, pcm: bytes, *, sample_rate: int = 16_000, channels: int = 1) -> ClientTurn:
        """A turn whose audio, 16 bit, is sent in the background as fast as it is spoken."""
        turn = self.turn(sample_rate=sample_rate, channels=channels)
        turn.speaking = asyncio.create_task(_speak(turn, pcm), name=f"speak {turn.id} of {self.id}")
        return turn

    def say_wav(self, path: str | Path) -> ClientTurn:
        """The same with a WAV file of 16-bit PCM; ValueError for another coding."""
        with wave.open(str(path)) as clip:
            if clip.getsampwidth() != BYTES_PER_SAMPLE:
                raise ValueError(f"{path}: samples of {8 * clip.getsampwidth()} bits; convert it to 16-bit PCM")
            return self.say(clip.readframes(clip.getnframes()), sample_rate=clip.getframerate(), channels=clip.getnchannels())

    async def switch_model(self, model: str) -> None:
        """Prefer another model from the next frame on."""
        self.model = model
        wished = preference(model)
        if wished is not None:
            await self._tell(wire.SwitchModel(self.id, wished))

    async def report(
        self, *, offset_ms: float | None = None, bandwidth_kbps: float | None = None, packet_loss_percent: float | None = None
    ) -> None:
        """What the viewer measured; an offset above 0 says that the picture is ahead of the sound."""
        if not self._is_resuming:  # what was measured on a connection that is gone says nothing of the next
            await self._tell(wire.ClientReport(self.id, bandwidth_kbps, packet_loss_percent, offset_ms))

    async def close(self) -> None:
        """End the session; its turns are given up."""
        await self._tell(wire.EndSession(self.id))
        self._is_open = False
        await self.abandon(None)

    async def abandon(self, failure: LipSyncClientError | None) -> None:
        """End every turn here."""
        for turn in list(self._turns.values()):
            if turn.speaking is not None:
                turn.speaking.cancel()
                await asyncio.wait([turn.speaking])
            turn.finish(failure)
        self._turns.clear()

    # What turns ask

    async def send_audio(self, turn: ClientTurn, message: wire.WireAudio, audio: bytes) -> None:
        """Send a chunk now, or leave it to be sent once the connection is back."""
        if self._is_resuming:
            return
        coded = audio_bytes(message, audio) if self._line.is_binary else audio_text(message, audio)
        self._is_open = await self._line.send(coded) or self._is_open

    async def send_end(self, turn: ClientTurn) -> None:
        """Send that the audio is complete, likewise."""
        if not self._is_resuming:  # afterwards it is said again in any case
            await self._tell(wire.EndUtterance(self.id))

    async def send_interruption(self) -> None:
        """Give up the turn that is being spoken."""
        await self._tell(wire.Interruption(self.id))

    # What the client passes on

    def connection_lost(self) -> None:
        """What is said from now on waits."""
        self._is_resuming = True

    async def connection_back(self) -> None:
        """Ask the service to go on; a session that it never heard of needs no asking."""
        if not self._is_open:
            await self._send_again(None)
            return
        turn = next(iter(self._turns.values()), None)
        seen = (turn.id, turn.frames_received) if turn is not None else (None, None)
        await self._line.send(text(wire.ResumeSession(self.id, self.user, *seen)))

    async def take(self, message: ServerMessage) -> None:
        """A message of this session."""
        if isinstance(message, Frame | Start | End):
            turn = self._turns.get(message.turn_id)
            if turn is not None:
                turn.take(message)
                self._drop_done()
        elif isinstance(message, Switch):
            for turn in self._turns.values():
                turn.take(message)
                break
        elif isinstance(message, Poster):
            self.poster = message
        elif isinstance(message, Warned):
            self.ends_in_s = message.seconds_left
        elif isinstance(message, Resumed):
            await self._go_on(message)
        else:
            await self._refused(message)

    async def _go_on(self, message: Resumed) -> None:
        self.resumptions += 1
        self._calls = 0
        for turn in list(self._turns.values()):
            if turn.audio_complete and turn.id not in message.open_turns and turn.started:
                turn.finish()  # its end was on its way when the connection broke
        self._drop_done()
        await self._send_again(message)

    async def _send_again(self, standing: Resumed | None) -> None:
        """Whatever the service has not got, oldest first; then chunks go straight out again."""
        wishes, self._wishes = self._wishes, []
        for wish in wishes:
            await self._line.send(wish)
        for turn in list(self._turns.values()):
            known = 0
            if standing is not None and turn.id in standing.open_turns:
                known = standing.next_sequence_number if turn.id == standing.turn_id else turn.chunks_sent
            for message, audio in turn.waiting_from(known):
                self._is_open = True
                await self._line.send(audio_bytes(message, audio) if self._line.is_binary else audio_text(message, audio))
            if turn.audio_complete and turn.chunks_sent:
                await self._line.send(text(wire.EndUtterance(self.id)))
        self._is_resuming = False

    async def _refused(self, message: Refused) -> None:
        error = service_error(
            message.error_code,
            message.error_message,
            recoverable=message.recoverable,
            fallback_available=message.fallback_available,
            details=message.details,
        )
        if self._is_resuming and error.field == "sessionId":
            self._calls += 1
            if self._calls < CALLS_PER_WORKER * int(error.details.get("workers", 0)):
                await self._line.call_again()
            else:
                self._lose()
            return
        self._pass_on(error)

    def _pass_on(self, error: ServiceError) -> None:
        for turn in self._turns.values():
            turn.fail_or_warn(error)
            break
        if not error.recoverable:
            self._is_open = False
        self._drop_done()

    def _lose(self) -> None:
        """The service let go of the session; what was being said is lost, the next turn opens it anew."""
        self._is_open = self._is_resuming = False
        self._calls = 0
        self._wishes.clear()
        for turn in self._turns.values():
            turn.lose()
        self._turns.clear()

    def _drop_done(self) -> None:
        for turn in [turn for turn in self._turns.values() if turn.done]:
            del self._turns[turn.id]

    async def _tell(self, message: wire.ClientMessage) -> None:
        if self._is_open and self._is_resuming:
            self._wishes.append(text(message))
        elif self._is_open:
            await self._line.send(text(message))


async def _speak(turn: ClientTurn, pcm: bytes) -> None:
    try:
        await turn.send_in_real_time(pcm)
        await turn.end()
    except LipSyncClientError as error:
        turn.finish(error)
