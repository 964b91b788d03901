"""Resumption of a session after a lost connection."""

from __future__ import annotations

from typing import Final

from orchestrator import protocol
from orchestrator.client.errors import SessionLostError
from orchestrator.client.messages import Resumed
from orchestrator.client.outbox import Outbox
from orchestrator.client.transport import Transport
from orchestrator.client.turn import ClientTurn
from orchestrator.client.turn_queue import OpenTurns

MAX_RECONNECTS: Final = 5
"""New connections tried when a gateway leads to an instance that does not have the session."""


class Resumption:
    """Resumes a session on a new connection, or opens it anew where the service has lost it."""

    def __init__(
        self, session_id: str, user: str, transport: Transport, outbox: Outbox, turns: OpenTurns
    ) -> None:
        self._session_id, self._user = session_id, user
        self._transport, self._outbox, self._turns = transport, outbox, turns
        self._reconnects = 0
        """Connections closed since the loss, because they led to another instance."""
        self.count = 0
        """Times that the service resumed the session."""
        self.instance: str | None = None
        """Instance of the service that has the session; None before its first response."""

    def connection_lost(self) -> None:
        """Hold messages back from now on.

        An interrupted turn ends here. If the service still has it, `resumed` interrupts it again.
        """
        self._outbox.is_resuming = True
        for turn in self._turns.sent():
            if turn.interrupted:
                turn.finish()
        self._turns.drop_done()

    async def connection_restored(self) -> None:
        """Ask the service to resume; a session that it never had is opened by its audio."""
        if not self._outbox.is_open:
            await self._replay(None)
            return
        turn = next((turn for turn in self._turns if turn.started), None)
        resume = protocol.ResumeSession(self._session_id, self._user, instance=self.instance)
        if turn is not None:
            resume.turn_id, resume.next_frame = turn.id, turn.frames_received
        await self._outbox.send_now(resume)

    async def resumed(self, message: Resumed) -> None:
        """Bring the service's turns and the client's into line, and send the missing audio."""
        self.count += 1
        self._reconnects = 0
        for turn in self._turns:
            if turn.audio_complete and turn.id not in message.open_turns and turn.started:
                turn.finish()  # its end was on its way when the connection broke
        self._turns.drop_done()
        self._outbox.hold_first(
            [
                protocol.Interruption(self._session_id, turn_id=turn_id)
                for turn_id in message.open_turns
                if turn_id not in self._turns
            ]
        )
        await self._replay(message)

    async def not_resumed(self, reason: str | None) -> None:
        """Handle a refused resumption: try another instance, or open the session anew.

        Another instance is tried only when a turn would be lost, `MAX_RECONNECTS` times at most.
        """
        in_turn = any(not turn.can_restart for turn in self._turns.sent())
        is_elsewhere = reason == protocol.OTHER_INSTANCE
        if is_elsewhere and in_turn and self._reconnects < MAX_RECONNECTS:
            self._reconnects += 1
            await self._transport.reconnect()
        else:
            self.session_lost(reason)
            await self._replay(None)

    def session_lost(self, reason: str | None) -> None:
        """Handle a session that the service no longer has.

        Turns that it had begun fail with SessionLostError; the other turns open the session anew.
        """
        self._outbox.is_open, self._reconnects, self.instance = False, 0, None
        self._outbox.clear()
        for turn in self._turns.sent():
            if not turn.can_restart:
                turn.finish(SessionLostError(reason))
        self._turns.drop_done()

    async def _replay(self, state: Resumed | None) -> None:
        """Send all that the service lacks, oldest first, and end the resumption."""
        await self._outbox.flush()
        replayed = set[str]()
        while turn := self._next_turn(replayed):
            replayed.add(turn.id)
            await self._replay_turn(turn, state)
        self._outbox.is_resuming = False
        await self._outbox.flush()

    def _next_turn(self, replayed: set[str]) -> ClientTurn | None:
        """Oldest turn that was not replayed; others may have begun meanwhile."""
        return next((turn for turn in self._turns.sent() if turn.id not in replayed), None)

    async def _replay_turn(self, turn: ClientTurn, state: Resumed | None) -> None:
        next_chunk = 0
        if state is not None and turn.id in state.open_turns:
            if turn.id != state.turn_id:
                # the service has all of it, and a repeated end would end the next turn
                return
            next_chunk = state.next_sequence_number
        while chunks := turn.chunks_from(next_chunk):  # more may be added meanwhile
            for message, audio in chunks:
                await self._outbox.send_audio(message, audio)
                next_chunk = message.audio_chunk.sequence_number + 1
        if turn.audio_complete:
            await self._outbox.send_now(protocol.EndUtterance(self._session_id))
