"""Items of a session's inbox and outbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import AudioChunk, LipSyncModel, StreamingFrame, VideoGenerationConfig
from orchestrator.pipeline.turn import Turn

CONTROL_WEIGHT_MS = 1.0
"""Weight in the inbox of an item without audio; it bounds their number."""

MAX_BYTES_PER_MS = 768.0
"""Bytes of 1 ms at 48 kHz, two channels of 8 bytes. A chunk weighs at least its size by this rate,
whatever duration it claims.
"""


@dataclass(slots=True)
class InboxItem:
    """One step of a turn in order of arrival: a chunk, or the turn's end if `chunk` is None."""

    ordinal: int
    """Number of the turn within the session."""
    turn_id: str
    config: VideoGenerationConfig
    face_model_id: str | None
    chunk: AudioChunk | None
    arrived_s: float
    duration_ms: float
    lost_before_ms: float = 0.0
    """Audio that was dropped just before this item; it becomes silence."""


def weight_ms(item: InboxItem) -> float:
    """Weight of an item in the inbox: its duration, and no less than its size in memory."""
    held_ms = 0.0 if item.chunk is None else len(item.chunk.data) / MAX_BYTES_PER_MS
    return max(item.duration_ms, held_ms, CONTROL_WEIGHT_MS)


@dataclass(frozen=True, slots=True)
class OutgoingFrame:
    """Frame to be sent, with the time from which its latency is measured."""

    turn: Turn
    frame: StreamingFrame
    ready_s: float
    trace: Any = None
    """Open trace span of its chunk."""


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """`response_start` is due."""

    turn: Turn
    model: LipSyncModel
    timestamp_ms: float


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """`response_end` is due; its metrics are read when it is sent."""

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
    """Face at rest as JPEG, sent before any frame."""

    face_model_id: str
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """`session_resumed` is due, with the position at which the connection was lost."""

    turn_id: str | None
    """Turn whose audio continues."""
    next_chunk: int
    """Number of the first missing chunk."""
    open_turns: tuple[str, ...]
    """Turns whose `response_end` was not sent."""


@dataclass(frozen=True, slots=True)
class Ending:
    """`session_warning` is due: the session reaches its time limit soon."""

    reason: str
    ends_s: float
    """Monotonic."""


Outgoing = OutgoingFrame | TurnStarted | TurnEnded | Switched | Failed | Poster | Resumed | Ending
