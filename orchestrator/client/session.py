"""One conversation with a face: its turns, its wishes, and how it goes on when the connection was
lost.
"""

from __future__ import annotations

import asyncio
import wave
from pathlib import Path
from typing import Final

from orchestrator import protocol
from orchestrator.client.errors import (
    LipSyncClientError,
    ServiceError,
    SessionLostError,
    refused_here,
    service_error,
)
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
from orchestrator.client.transport import Line
from orchestrator.client.turn import BYTES_PER_SAMPLE, ClientTurn, preference
from orchestrator.client.turn_queue import Floor
from orchestrator.core.types import AudioFormat

MOST_CALLS: Final = 5
"""Connections that are given up since they reached another instance than the one that speaks a
turn: a gateway may have been wrong.
"""


class ClientSession:
    """Made by `LipSyncClient.session`. Its first chunk opens it at the service."""

    def __init__(
        self,
        line: Line,
        session_id: str,
        user: str,
        face: str | None,
        model: str | None,
        config: protocol.WireConfig,
    ) -> None:
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
        self.instance: str | None = None
        """Of the service, that has the session; None before it answered."""
        self._line = line
        self._turns: dict[str, ClientTurn] = {}
        """Those that are not over, in the order in which they were made."""
        self._floor = Floor()
        self._turn_count = 0
        self._is_open = False
        self._is_resuming = False
        self._calls = 0
        """In vain, since the connection was lost."""
        self._wishes: list[str] = []
        """Messages that wait for the connection to come back."""

    def turn(self, *, sample_rate: int = 16_000, channels: int = 1) -> ClientTurn:
        """A new turn; `sample_rate` 8000 to 48000 Hz and 1 or 2 `channels` of the audio to come.

        Where the connection is gone for good, the turn's `send` and `frames` raise why.
        """
        self._turn_count += 1
        turn_id = f"turn-{self._turn_count:03d}"
        chunk = protocol.WireAudioChunk("", 0.0, 0, sample_rate, channels, AudioFormat.PCM)
        first = protocol.WireAudio(
            self.id, self.user, chunk, self.face, preference(self.model), turn_id, self.config
        )
        turn = ClientTurn(self, first, sample_rate, channels)
        if self._line.failure is not None:
            turn.finish(self._line.failure)
            return turn
        self._turns[turn_id] = turn
        self._line.carry(self)
        return turn

    def say(self, pcm: bytes, *, sample_rate: int = 16_000, channels: int = 1) -> ClientTurn:
        """A turn whose audio, 16 bit, is sent in the background as fast as it is spoken, once the
        audio of earlier turns is complete.
        """
        turn = self.turn(sample_rate=sample_rate, channels=channels)
        if not turn.done:
            self._floor.queue(turn)
            turn.speaking = asyncio.create_task(
                turn.speak(pcm), name=f"speak {turn.id} of {self.id}"
            )
        return turn

    def say_wav(self, path: str | Path) -> ClientTurn:
        """The same with a WAV file of 16-bit PCM; InvalidMessageError for another coding, OSError
        where it cannot be read.
        """
        try:
            with wave.open(str(path)) as clip:
                form, pcm = clip.getparams(), clip.readframes(clip.getnframes())
        except (wave.Error, EOFError) as error:
            raise refused_here(
                "path", f"{path} is no WAV file of PCM ({error}); convert it to 16-bit PCM"
            ) from None
        if form.sampwidth != BYTES_PER_SAMPLE:
            raise refused_here(
                "path", f"{path} has samples of {8 * form.sampwidth} bits; convert it to 16-bit PCM"
            )
        return self.say(pcm, sample_rate=form.framerate, channels=form.nchannels)

    async def switch_model(self, model: str) -> None:
        """Prefer another model from the next frame on."""
        wished = preference(model)
        self.model = model
        if wished is not None:
            await self._tell(protocol.SwitchModel(self.id, wished))

    async def report(
        self,
        *,
        offset_ms: float | None = None,
        bandwidth_kbps: float | None = None,
        packet_loss_percent: float | None = None,
    ) -> None:
        """What the viewer measured; an offset above 0 says that the picture is ahead of the
        sound.
        """
        if (
            not self._is_resuming
        ):  # what was measured on a connection that is gone says nothing of the next
            await self._tell(
                protocol.ClientReport(self.id, bandwidth_kbps, packet_loss_percent, offset_ms)
            )

    async def close(self) -> None:
        """End the session; its turns are given up. Another turn opens it anew."""
        await self._tell(protocol.EndSession(self.id))
        self._line.drop(self)
        await self.abandon(None)
        self._is_resuming = False
        self._wishes.clear()

    async def abandon(self, failure: LipSyncClientError | None) -> None:
        """End every turn here."""
        self._is_open = False
        for turn in list(self._turns.values()):
            turn.finish(failure)
            if turn.speaking is not None:
                await asyncio.wait([turn.speaking])
        self._drop_done()

    # What turns ask

    async def take_floor(self, turn: ClientTurn) -> None:
        """Wait until the audio of this turn may be sent."""
        await self._floor.take(turn)

    async def send_audio(self, message: protocol.WireAudio, audio: bytes) -> None:
        """Send a chunk now, or leave it to be sent once the connection is back."""
        if not self._is_resuming:
            self._is_open = await self._send_chunk(message, audio) or self._is_open

    async def send_end(self, turn: ClientTurn) -> None:
        """Send that the audio is complete, likewise; a turn without audio is over by that."""
        if turn.chunks_sent == 0:
            turn.finish()
            self._drop_done()
        elif (
            self._is_open and not self._is_resuming
        ):  # once the connection is back, it is said after the audio that is missing
            await self._line.send(text(protocol.EndUtterance(self.id)))

    async def send_interruption(self, turn: ClientTurn) -> None:
        """Give this turn up at the service. It is over when the service says so, and at once where
        that may take long or never come.
        """
        if not turn.started or self._is_resuming:
            turn.finish()
            self._drop_done()
        if turn.chunks_sent > 0:
            await self._tell(protocol.Interruption(self.id, turn_id=turn.id))

    # What the client passes on

    def connection_lost(self) -> None:
        """What is said from now on waits. A turn that was given up is over here; the service hears
        of it again if it still has it.
        """
        self._is_resuming = True
        for turn in self._spoken():
            if turn.interrupted:
                turn.finish()
        self._drop_done()

    def sent_away(self) -> None:
        """The service's instance shuts down and closed the connection: the next one opens the
        session anew, at another instance.
        """
        self._let_go(protocol.DRAINING)

    async def connection_back(self) -> None:
        """Ask the service to go on; a session that it never heard of needs no asking."""
        if not self._is_open:
            await self._send_again(None)
            return
        turn = next((turn for turn in self._turns.values() if turn.started), None)
        resume = protocol.ResumeSession(self.id, self.user, instance=self.instance)
        if turn is not None:
            resume.turn_id, resume.next_frame = turn.id, turn.frames_received
        await self._line.send(text(resume))

    async def take(self, message: ServerMessage) -> None:
        """A message of this session."""
        if isinstance(message, Start):
            self.instance = message.instance
        if isinstance(message, Frame | Start | End):
            turn = self._turns.get(message.turn_id)
            if turn is not None:
                turn.take(message)
                self._drop_done()
        elif isinstance(message, Switch):
            for turn in self._spoken()[:1]:
                turn.take(message)
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
        given_up = [
            text(protocol.Interruption(self.id, turn_id=turn_id))
            for turn_id in message.open_turns
            if turn_id not in self._turns
        ]
        self._wishes = given_up + [wish for wish in self._wishes if wish not in given_up]
        await self._send_again(message)

    async def _send_again(self, standing: Resumed | None) -> None:
        """Whatever the service has not got, oldest first; then chunks go straight out again."""
        await self._grant_wishes()
        said = set[str]()
        while turn := next(
            (turn for turn in self._spoken() if turn.id not in said), None
        ):  # others may begin meanwhile
            said.add(turn.id)
            await self._say_again(turn, standing)
        self._is_resuming = False
        await self._grant_wishes()

    async def _grant_wishes(self) -> None:
        while self._wishes:
            wish = self._wishes.pop(0)
            if not await self._line.send(wish):
                self._wishes.insert(0, wish)
                return

    async def _say_again(self, turn: ClientTurn, standing: Resumed | None) -> None:
        known = 0
        if standing is not None and turn.id in standing.open_turns:
            if turn.id != standing.turn_id:
                # the service has all of it; its end, said once more, would be that of the next turn
                return
            known = standing.next_sequence_number
        while waiting := turn.waiting_from(known):  # more may come meanwhile
            for message, audio in waiting:
                self._is_open = await self._send_chunk(message, audio) or self._is_open
                known = message.audio_chunk.sequence_number + 1
        if turn.audio_complete:
            await self._line.send(text(protocol.EndUtterance(self.id)))

    async def _send_chunk(self, message: protocol.WireAudio, audio: bytes) -> bool:
        return await self._line.send(
            audio_bytes(message, audio) if self._line.is_binary else audio_text(message, audio)
        )

    def _spoken(self) -> list[ClientTurn]:
        """Turns of which the service has heard, or was meant to, the oldest first."""
        return [turn for turn in self._turns.values() if turn.chunks_sent > 0 and not turn.done]

    async def _refused(self, message: Refused) -> None:
        error = service_error(
            message.error_code,
            message.error_message,
            recoverable=message.recoverable,
            fallback_available=message.fallback_available,
            details=message.details,
        )
        if error.details.get("reason") == protocol.DRAINING:
            self._is_open, self._is_resuming = (
                False,
                True,
            )  # the service closes the connection, and the next one leads elsewhere
        elif self._is_resuming:
            await self._not_resumed(error.details.get("reason"))
        else:
            self._pass_on(error)

    async def _not_resumed(self, reason: str | None) -> None:
        """The service has not got the session. Where it speaks a turn elsewhere, another connection
        may lead there.
        """
        in_turn = any(not turn.can_begin_anew for turn in self._spoken())
        if reason == protocol.OTHER_INSTANCE and in_turn and self._calls < MOST_CALLS:
            self._calls += 1
            await self._line.call_again()
        else:
            self._let_go(reason)
            await self._send_again(None)

    def _pass_on(self, error: ServiceError) -> None:
        if error.recoverable:
            for turn in self._spoken()[:1]:
                turn.fail_or_warn(error)
        else:
            self._is_open = False  # and with it goes whatever was sent
            for turn in self._spoken():
                turn.finish(error)
        self._drop_done()

    def _let_go(self, reason: str | None) -> None:
        """The service has the session no more. What it had begun to speak is lost; the other turns
        will open it anew.
        """
        self._is_open, self._calls, self.instance = False, 0, None
        self._wishes.clear()
        for turn in self._spoken():
            if not turn.can_begin_anew:
                turn.finish(SessionLostError(reason))
        self._drop_done()

    def _drop_done(self) -> None:
        for turn in [turn for turn in self._turns.values() if turn.done]:
            del self._turns[turn.id]

    async def _tell(self, message: protocol.ClientMessage) -> None:
        if self._is_open and self._is_resuming:
            self._wishes.append(text(message))
        elif self._is_open and not await self._line.send(text(message)):
            self._wishes.append(text(message))  # the loss of the connection is about to be noticed
