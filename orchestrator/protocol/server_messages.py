"""What the service sends, as records of camelCase JSON."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.types import LipSyncModel, VideoFormat


class ResponseStart(msgspec.Struct, rename="camel", tag="response_start"):
    """A turn begins."""

    session_id: str
    turn_id: str
    model: LipSyncModel
    timestamp: float
    instance: str
    """Of the process that has the session, a new one at each start: to be named when the session is
    resumed.
    """
    weights: str | msgspec.UnsetType = msgspec.UNSET
    """Only where the model's weights are random ones, for tests: it says so."""


class ResponseVideo(msgspec.Struct, rename="camel", tag="response_video"):
    """One frame; `frame_data` travels as base64."""

    session_id: str
    turn_id: str
    frame_data: bytes
    sequence_number: int
    timestamp: float
    audio_timestamp: float
    format: VideoFormat
    is_keyframe: bool
    width: int
    height: int
    model: LipSyncModel
    is_interpolated: bool


class TurnMetrics(msgspec.Struct, rename="camel"):
    """How a turn went."""

    frames_generated: int
    frames_dropped: int
    average_latency_ms: float
    p95_latency_ms: float
    model_used: LipSyncModel | None
    model_switches: int
    bytes_sent: int = 0
    """Of pictures."""
    bitrate_bps: int = 0
    """Of pictures, over the turn's duration."""
    packets_lost: int = 0
    """Frames of the session so far that did not arrive, by the shares that the client reported."""
    jitter_ms: float = 0.0
    """Running mean of the differences between neighbouring frames' latencies (RFC 3550)."""
    av_offset_ms: float | None = None
    """Median of what the client reported last, positive when the picture is ahead; null if it
    reported nothing.
    """
    sync_correction_ms: float = 0.0
    """Added to presentation times by the end of the turn."""


class ResponseEnd(msgspec.Struct, rename="camel", tag="response_end"):
    """A turn is over."""

    session_id: str
    turn_id: str
    metrics: TurnMetrics
    interrupted: bool = False


class ModelSwitched(msgspec.Struct, tag="model_switched"):
    """Frames now come from another model."""

    session_id: str = msgspec.field(name="sessionId")
    from_model: LipSyncModel = msgspec.field(name="from")
    to_model: LipSyncModel = msgspec.field(name="to")
    reason: str
    weights: str | msgspec.UnsetType = msgspec.UNSET
    """Of the model switched to; see `ResponseStart`."""


class Poster(msgspec.Struct, rename="camel", tag="poster"):
    """The face at rest, to be shown until frames come; not a frame of a turn.

    Always text: a client of `BINARY_SUBPROTOCOL` may take every binary message for a frame.
    """

    session_id: str
    face_model_id: str
    frame_data: bytes
    format: str
    width: int
    height: int


class SessionResumed(msgspec.Struct, rename="camel", tag="session_resumed"):
    """The session goes on over this connection."""

    session_id: str
    turn_id: str | None
    """Of the turn whose audio is still coming in, or null."""
    next_sequence_number: int
    """Of the chunk that is missing first; earlier ones are known."""
    open_turns: list[str]
    """Turns whose `response_end` is still to come."""


class SessionWarning(msgspec.Struct, rename="camel", tag="session_warning"):
    """The session is about to end."""

    session_id: str
    reason: str
    seconds_left: float


class ErrorMessage(msgspec.Struct, rename="camel", tag="error"):
    """Something the caller can act on."""

    session_id: str | None
    error_code: LipSyncErrorCode
    error_message: str
    recoverable: bool
    fallback_available: bool
    details: dict[str, Any]


ServerMessage: TypeAlias = (
    ResponseStart
    | ResponseVideo
    | ResponseEnd
    | ModelSwitched
    | Poster
    | SessionResumed
    | SessionWarning
    | ErrorMessage
)
