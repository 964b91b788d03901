"""Whose audio is sent: turns of a session one after another, so that a sentence never cuts the one
before it short.
"""

from __future__ import annotations

from orchestrator.client.turn import ClientTurn


class Floor:
    """Turns whose audio is sent or waits to be, in their order."""

    def __init__(self) -> None:
        self._turns: list[ClientTurn] = []

    def queue(self, turn: ClientTurn) -> None:
        """Behind those that are here; again is no matter."""
        self._turns = [other for other in self._turns if not other.audio_over.is_set()]
        if turn not in self._turns:
            self._turns.append(turn)

    async def take(self, turn: ClientTurn) -> None:
        """Wait until the audio of this turn may be sent.

        A recording waits for every turn before it, and every turn waits for a recording before it.
        Of two turns that are sent piece by piece the new one ends the other at once, as on the
        wire.
        """
        self.queue(turn)
        for other in self._turns[: self._turns.index(turn)]:
            if turn.speaking is not None or other.speaking is not None:
                await other.audio_over.wait()
