"""One session with a face: its turns, its settings and the messages that the service sends it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from orchestrator import protocol
from orchestrator.client.arguments import preferred_model, read_wav
from orchestrator.client.errors import LipSyncClientError, ServiceError, service_error
from orchestrator.client.messages import (
    End,
    ErrorMessage,
    Frame,
    Poster,
    Resumed,
    ServerMessage,
    SessionWarning,
    Start,
    Switch,
)
from orchestrator.client.outbox import Outbox
from orchestrator.client.resumption import Resumption
from orchestrator.client.transport import Transport
from orchestrator.client.turn import ClientTurn
from orchestrator.client.turn_queue import OpenTurns, TurnQueue
from orchestrator.core.types import AudioFormat


class ClientSession:
    """One session, made by `LipSyncClient.session`; its first chunk opens it at the service."""

    def __init__(
        self,
        transport: Transport,
        session_id: str,
        user: str,
        face: str | None,
        model: str | None,
        config: protocol.WireConfig,
    ) -> None:
        self.id = session_id
        self.user = user
        self.face = face
        """Face from the next turn on; None for the user's active face."""
        self.model = model
        self.config = config
        self.poster: Poster | None = None
        """The face at rest; None until the service has sent it."""
        self.ends_in_s: float | None = None
        """Seconds left by the service's warning that the session nears its time limit."""
        self._transport = transport
        self._turns = OpenTurns()
        self._queue = TurnQueue()
        self._turn_count = 0
        self._outbox = Outbox(transport)
        self._resumption = Resumption(session_id, user, transport, self._outbox, self._turns)

    @property
    def resumptions(self) -> int:
        """Times that the service resumed the session after a lost connection."""
        return self._resumption.count

    @property
    def instance(self) -> str | None:
        """Instance of the service that has the session; None before its first response."""
        return self._resumption.instance

    def turn(self, *, sample_rate: int = 16_000, channels: int = 1) -> ClientTurn:
        """A new turn for audio of `sample_rate` 8000 to 48000 Hz and 1 or 2 `channels`.

        Where the connection is gone for good, the turn's `send` and `frames` raise the reason.
        InvalidMessageError for a model that cannot be a name.
        """
        self._turn_count += 1
        turn_id = f"turn-{self._turn_count:03d}"
        chunk = protocol.WireAudioChunk("", 0.0, 0, sample_rate, channels, AudioFormat.PCM)
        model = preferred_model(self.model)
        first = protocol.WireAudio(
            self.id, self.user, chunk, self.face, model, turn_id, self.config
        )
        turn = ClientTurn(self, first, sample_rate, channels)
        if self._transport.failure is not None:
            turn.finish(self._transport.failure)
            return turn
        self._turns.add(turn)
        self._transport.attach(self)
        return turn

    def say(self, pcm: bytes, *, sample_rate: int = 16_000, channels: int = 1) -> ClientTurn:
        """A turn that sends a recording of 16-bit PCM in the background, in real time.

        It waits until the audio of earlier turns is complete.
        """
        turn = self.turn(sample_rate=sample_rate, channels=channels)
        if not turn.done:
            self._queue.add(turn)
            turn.recording = asyncio.create_task(
                turn.send_recording(pcm), name=f"send {turn.id} of {self.id}"
            )
        return turn

    def say_wav(self, path: str | Path) -> ClientTurn:
        """A turn that sends a WAV file of 16-bit PCM, as `say` does.

        Raises InvalidMessageError for another coding and OSError for an unreadable file.
        """
        pcm, sample_rate, channels = read_wav(path)
        return self.say(pcm, sample_rate=sample_rate, channels=channels)

    async def switch_model(self, model: str) -> None:
        """Prefer another model from the next frame on; InvalidMessageError for an invalid name."""
        preferred = preferred_model(model)
        self.model = model
        if preferred is not None:
            await self._outbox.send_control(protocol.SwitchModel(self.id, preferred))

    async def report(
        self,
        *,
        offset_ms: float | None = None,
        bandwidth_kbps: float | None = None,
        packet_loss_percent: float | None = None,
    ) -> None:
        """Report the viewer's measurements; `offset_ms` above 0: the picture is ahead of the sound.

        Dropped while the session resumes: figures of a lost connection do not apply to the next.
        """
        if not self._outbox.is_resuming:
            await self._outbox.send_control(
                protocol.ClientReport(self.id, bandwidth_kbps, packet_loss_percent, offset_ms)
            )

    async def close(self) -> None:
        """End the session and its turns; another turn opens it anew."""
        await self._outbox.send_control(protocol.EndSession(self.id))
        self._transport.detach(self)
        await self.abandon(None)
        self._outbox.is_resuming = False
        self._outbox.clear()

    async def abandon(self, failure: LipSyncClientError | None) -> None:
        """End every turn; their `frames` raise `failure` unless it is None."""
        self._outbox.is_open = False
        for turn in self._turns:
            turn.finish(failure)
            if turn.recording is not None:
                await asyncio.wait([turn.recording])
        self._turns.drop_done()

    # Called by turns

    async def wait_for_queue(self, turn: ClientTurn) -> None:
        """Wait until the audio of this turn may be sent."""
        await self._queue.wait(turn)

    async def send_audio(self, message: protocol.WireAudio, audio: bytes) -> None:
        """Send a chunk now, or leave it to be replayed once the connection is back."""
        if not self._outbox.is_resuming:
            await self._outbox.send_audio(message, audio)

    async def send_end(self, turn: ClientTurn) -> None:
        """Send the end of the audio, or leave it to be replayed; an empty turn just ends."""
        if turn.chunks_sent == 0:
            turn.finish()
            self._turns.drop_done()
        elif self._outbox.is_open and not self._outbox.is_resuming:
            await self._outbox.send_now(protocol.EndUtterance(self.id))

    async def send_interruption(self, turn: ClientTurn) -> None:
        """Interrupt this turn at the service, which then ends it.

        The turn ends at once where the service's response may be late or never come.
        """
        if not turn.started or self._outbox.is_resuming:
            turn.finish()
            self._turns.drop_done()
        if turn.chunks_sent > 0:
            await self._outbox.send_control(protocol.Interruption(self.id, turn_id=turn.id))

    # Called by the client

    def connection_lost(self) -> None:
        """Hold messages back until the session is resumed; interrupted turns end."""
        self._resumption.connection_lost()

    def server_draining(self) -> None:
        """Prepare to open the session anew at another instance."""
        self._resumption.session_lost(protocol.DRAINING)

    async def connection_restored(self) -> None:
        """Resume the session on the new connection."""
        await self._resumption.connection_restored()

    async def receive(self, message: ServerMessage) -> None:
        """Handle a message of this session."""
        if isinstance(message, Start):
            self._resumption.instance = message.instance
        if isinstance(message, Frame | Start | End):
            turn = self._turns.get(message.turn_id)
            if turn is not None:
                turn.receive(message)
                self._turns.drop_done()
        elif isinstance(message, Switch):
            for turn in self._turns.sent()[:1]:
                turn.receive(message)
        elif isinstance(message, Poster):
            self.poster = message
        elif isinstance(message, SessionWarning):
            self.ends_in_s = message.seconds_left
        elif isinstance(message, Resumed):
            await self._resumption.resumed(message)
        else:
            await self._receive_error(message)

    async def _receive_error(self, message: ErrorMessage) -> None:
        error = service_error(
            message.error_code,
            message.error_message,
            recoverable=message.recoverable,
            fallback_available=message.fallback_available,
            details=message.details,
        )
        reason = error.details.get("reason")
        if reason == protocol.DRAINING:
            # the service closes the connection, and the next one leads to another instance
            self._outbox.is_open, self._outbox.is_resuming = False, True
        elif self._outbox.is_resuming:
            await self._resumption.not_resumed(reason)
        else:
            self._fail_turns(error)

    def _fail_turns(self, error: ServiceError) -> None:
        if error.recoverable:
            for turn in self._turns.sent()[:1]:
                turn.fail_or_warn(error)
        else:
            self._outbox.is_open = False  # the service has closed the session with all its turns
            for turn in self._turns.sent():
                turn.finish(error)
        self._turns.drop_done()
