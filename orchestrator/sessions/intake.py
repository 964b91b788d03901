"""Session intake: queue audio without waiting, and replace what overflows by silence.

The socket must never wait for the pipeline. Where the inbox is full, its overflow policy is *drop
oldest*: the chunk's duration is kept as silence, so that the media clock stays right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.pipeline.session_events import Failed, InboxItem
from orchestrator.pipeline.session_state import Session

MAX_SILENCE_MS: Final = 30_000.0
"""Longest silence that replaces one chunk, whatever duration the chunk claims. Longer silence is
pushed piece by piece.
"""

EPISODE_ENDS_BELOW: Final = 0.5
"""Inbox fill below which a later overflow is reported again."""


class Intake:
    """Feeds one session's inbox."""

    def __init__(self, session: Session, metrics: Metrics) -> None:
        self._session = session
        self._metrics = metrics
        self._overflowing = False

    async def accept(self, item: InboxItem) -> None:
        """Queue an item; an overflow is reported to the client once per episode."""
        audio = self._session.audio
        if item.chunk is not None:
            audio.heard_s = item.arrived_s
        dropped = await audio.inbox.offer(item, droppable=lambda old: old.chunk is not None)
        lost_ms = sum(lost.duration_ms for lost in dropped)
        self._metrics.inbox_fill.observe(audio.inbox.fill)
        self._metrics.audio_lost_seconds_total.inc(lost_ms / 1000.0)
        self._replace_by_silence(dropped)
        if dropped and not self._overflowing:
            await self._session.delivery.outbox.put(Failed(_overflow(lost_ms)))
        is_same_episode = self._overflowing and audio.inbox.fill >= EPISODE_ENDS_BELOW
        self._overflowing = bool(dropped) or is_same_episode

    def _replace_by_silence(self, dropped: Sequence[InboxItem]) -> None:
        """Add the duration of each dropped chunk to the next queued item of its turn."""
        for lost in dropped:
            queued = self._session.audio.inbox.items()
            heir = next((later for later in queued if later.ordinal == lost.ordinal), None)
            if heir is not None:
                heir.lost_before_ms += min(lost.duration_ms, MAX_SILENCE_MS) + lost.lost_before_ms


def _overflow(lost_ms: float) -> LipSyncError:
    message = (
        "more audio is waiting than the service keeps; the oldest was replaced by "
        "silence: send it at most in real time"
    )
    details = {"field": "audioChunk.data", "lostMs": lost_ms}
    return LipSyncError(LipSyncErrorCode.BUFFER_OVERFLOW, message, details=details)
