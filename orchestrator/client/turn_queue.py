"""Order of a session's turns: the unfinished ones, and the queue in which their audio is sent."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.client.turn import ClientTurn


class OpenTurns:
    """Turns that are not over, in the order in which they were made."""

    def __init__(self) -> None:
        self._turns: dict[str, ClientTurn] = {}

    def __iter__(self) -> Iterator[ClientTurn]:
        """Iterate over a copy, since a turn may end meanwhile."""
        return iter(list(self._turns.values()))

    def __contains__(self, turn_id: str) -> bool:
        return turn_id in self._turns

    def add(self, turn: ClientTurn) -> None:
        """Append a new turn."""
        self._turns[turn.id] = turn

    def get(self, turn_id: str) -> ClientTurn | None:
        """The turn of this id; None once it is over."""
        return self._turns.get(turn_id)

    def sent(self) -> list[ClientTurn]:
        """Turns of which at least one chunk was sent or buffered, the oldest first."""
        return [turn for turn in self._turns.values() if turn.chunks_sent > 0 and not turn.done]

    def drop_done(self) -> None:
        """Remove the turns that are over."""
        self._turns = {turn.id: turn for turn in self._turns.values() if not turn.done}


class TurnQueue:
    """Turns whose audio is being sent or waits to be sent, in their order."""

    def __init__(self) -> None:
        self._turns: list[ClientTurn] = []

    def add(self, turn: ClientTurn) -> None:
        """Append a turn unless it is queued already."""
        self._turns = [other for other in self._turns if not other.audio_done.is_set()]
        if turn not in self._turns:
            self._turns.append(turn)

    async def wait(self, turn: ClientTurn) -> None:
        """Wait until the audio of this turn may be sent.

        A recording waits for every turn before it, and every turn waits for a recording before it.
        Of two turns sent piece by piece the newer one ends the older at once, as on the wire.
        """
        self.add(turn)
        for other in self._turns[: self._turns.index(turn)]:
            if turn.recording is not None or other.recording is not None:
                await other.audio_done.wait()
