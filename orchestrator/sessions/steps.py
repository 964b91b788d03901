"""Run a session's items one at a time, each as a task that the interruption of its turn cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from orchestrator.core.errors import LipSyncError
from orchestrator.pipeline.session_events import InboxItem
from orchestrator.pipeline.session_state import TurnAudio


class Steps:
    """The step in progress of one session, and the turns that were interrupted."""

    def __init__(self, audio: TurnAudio) -> None:
        self._audio = audio
        self._task: asyncio.Task[None] | None = None
        self._item: InboxItem | None = None
        self._interrupted: set[int] = set()
        """Ordinals of interrupted turns."""

    def is_interrupted(self, item: InboxItem) -> bool:
        """True for an item of a turn that was interrupted."""
        return item.ordinal in self._interrupted

    async def run(
        self, item: InboxItem, work: Coroutine[Any, Any, None], name: str
    ) -> LipSyncError | None:
        """Run the work of an item as a task named `name`; returns the error that it raised. An
        interruption ends it without an error.
        """
        self._item, self._task = item, asyncio.create_task(work, name=name)
        try:
            await self._task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
        except LipSyncError as error:
            return error
        finally:
            self._task = self._item = None
        return None

    def unfinished(self) -> list[tuple[int, str]]:
        """Ordinal and id of every unfinished turn, in order; a turn may appear more than once."""
        turn, item = self._audio.turn, self._item
        begun = [(turn.ordinal, turn.id)] if turn is not None else []
        waiting = ([item] if item is not None else []) + list(self._audio.inbox.items())
        return begun + [(item.ordinal, item.turn_id) for item in waiting]

    async def interrupt(self, ordinal: int) -> None:
        """Drop what is queued of a turn, and cancel the step that works on it."""
        first = self.unfinished()[0][0]
        self._interrupted = {ordinal, *(each for each in self._interrupted if each > first)}
        await self._audio.inbox.discard(lambda item: item.ordinal == ordinal)
        self._cancel_step_of(ordinal)

    def _cancel_step_of(self, ordinal: int) -> None:
        """Cancel the step in progress for this turn. If the step belongs to the next turn's first
        chunk, put that chunk back in the inbox.
        """
        turn, item = self._audio.turn, self._item
        if self._task is None or item is None:
            return
        worked_on = item.ordinal if turn is None else turn.ordinal
        if worked_on == ordinal and item.ordinal != ordinal:
            self._audio.inbox.put_back(item)
        if worked_on == ordinal:
            self._task.cancel()
