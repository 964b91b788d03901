"""Outbox of one session: sends its messages, and holds them back while the session resumes."""

from __future__ import annotations

from orchestrator import protocol
from orchestrator.client.messages import encode, encode_audio_base64, encode_audio_binary
from orchestrator.client.transport import Transport


class Outbox:
    """Sends a session's messages; control messages wait for the end of a resumption."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.is_open = False
        """True from the first sent chunk until the service has ended or lost the session."""
        self.is_resuming = False
        """True from the loss of the connection until the missing audio was sent again."""
        self._held: list[str] = []
        """Control messages that wait for the connection."""

    async def send_control(self, message: protocol.ClientMessage) -> None:
        """Send a control message, or hold it; a session that is not open at the service needs none.

        A message that cannot be sent is held: the loss of the connection is about to be noticed.
        """
        if not self.is_open:
            return
        if self.is_resuming or not await self._transport.send(encode(message)):
            self._held.append(encode(message))

    async def send_now(self, message: protocol.ClientMessage) -> None:
        """Send a message past those that are held; it is lost where there is no connection."""
        await self._transport.send(encode(message))

    async def send_audio(self, message: protocol.WireAudio, audio: bytes) -> None:
        """Send a chunk; the first one that is sent opens the session at the service."""
        encode_audio = encode_audio_binary if self._transport.is_binary else encode_audio_base64
        is_sent = await self._transport.send(encode_audio(message, audio))
        self.is_open = is_sent or self.is_open

    def hold_first(self, messages: list[protocol.ClientMessage]) -> None:
        """Put control messages before the held ones; one that is held already moves forward."""
        first = [encode(message) for message in messages]
        self._held = first + [message for message in self._held if message not in first]

    async def flush(self) -> None:
        """Send the held messages in order, as far as the connection lasts."""
        while self._held:
            message = self._held.pop(0)
            if not await self._transport.send(message):
                self._held.insert(0, message)
                return

    def clear(self) -> None:
        """Drop the held messages."""
        self._held.clear()
