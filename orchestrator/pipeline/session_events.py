"""What enters a session's inbox and what leaves by its outbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import AudioChunk, LipSyncModel, StreamingFrame, VideoGenerationConfig
from orchestrator.pipeline.turn import Turn

CONTROL_WEIGHT_MS = 1.0
"""What an item without audio counts in the inbox, so that their number is bounded too."""

MOST_BYTES_PER_MS = 768.0
"""48 kHz, two channels of 8 bytes: a chunk counts in the inbox for as long as its bytes could play,
whatever it says of itself.
"""


@dataclass(slots=True)
class InboxItem:
    """One step of a turn, in the order of arrival: a chunk, or the turn's end when `chunk` is
    None.
    """

    ordinal: int
    """Number of the turn within the session."""
    turn_id: str
    config: VideoGenerationConfig
    face_model_id: str | None
    chunk: AudioChunk | None
    arrived_s: float
    duration_ms: float
    lost_before_ms: float = 0.0
    """Audio that overflowed just before this item; it counts as silence."""


def weight_ms(item: InboxItem) -> float:
    """What an item counts in the inbox: the sound it holds, and no less than what it takes of
    memory.
    """
    held_ms = 0.0 if item.chunk is None else len(item.chunk.data) / MOST_BYTES_PER_MS
    return max(item.duration_ms, held_ms, CONTROL_WEIGHT_MS)


@dataclass(frozen=True, slots=True)
class OutgoingFrame:
    """A frame on its way out, with what its latency is measured from."""

    turn: Turn
    frame: StreamingFrame
    ready_s: float
    trace: Any = None
    """The open span of the chunk that it came from."""


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """`response_start` is due."""

    turn: Turn
    model: LipSyncModel
    timestamp_ms: float


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """`response_end` is due; its metrics are read when it leaves."""

    turn: Turn
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Switched:
    """`model_switched` is due."""

    before: LipSyncModel
    after: LipSyncModel
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """`error` is due."""

    error: LipSyncError


@dataclass(frozen=True, slots=True)
class Poster:
    """The face at rest as JPEG, before any frame: what a viewer sees first."""

    face_model_id: str
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """`session_resumed` is due: where the conversation stood when its connection was lost."""

    turn_id: str | None
    """Of the turn whose audio goes on."""
    next_chunk: int
    """Number of the chunk that is missing first."""
    open_turns: tuple[str, ...]
    """Turns whose `response_end` is still to come."""


@dataclass(frozen=True, slots=True)
class Ending:
    """`session_warning` is due: the session has a limit, and it is near."""

    reason: str
    ends_s: float
    """Monotonic."""


Outgoing = OutgoingFrame | TurnStarted | TurnEnded | Switched | Failed | Poster | Resumed | Ending
