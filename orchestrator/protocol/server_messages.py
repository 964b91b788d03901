"""Messages of the service, as records of camelCase JSON."""

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
    """Id of the process that has the session, new at each start; `resume_session` names it."""
    weights: str | msgspec.UnsetType = msgspec.UNSET
    """Set only where the model has random weights, for tests: their description."""


class ResponseVideo(msgspec.Struct, rename="camel", tag="response_video"):
    """One frame; `frame_data` is base64 in JSON."""

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
    """Statistics of a turn."""

    frames_generated: int
    frames_dropped: int
    average_latency_ms: float
    p95_latency_ms: float
    model_used: LipSyncModel | None
    model_switches: int
    bytes_sent: int = 0
    """Bytes of frames."""
    bitrate_bps: int = 0
    """Mean bitrate of frames over the turn's duration."""
    packets_lost: int = 0
    """Lost frames of the session so far, estimated from the losses that the client reported."""
    jitter_ms: float = 0.0
    """Interarrival jitter (RFC 3550): running mean of the latency differences of neighbours."""
    av_offset_ms: float | None = None
    """Median of the client's last reports, positive when the picture is ahead; null without one."""
    sync_correction_ms: float = 0.0
    """Correction of presentation timestamps at the end of the turn."""


class ResponseEnd(msgspec.Struct, rename="camel", tag="response_end"):
    """A turn is over."""

    session_id: str
    turn_id: str
    metrics: TurnMetrics
    interrupted: bool = False


class ModelSwitched(msgspec.Struct, tag="model_switched"):
    """Another model generates the frames from now on."""

    session_id: str = msgspec.field(name="sessionId")
    from_model: LipSyncModel = msgspec.field(name="from")
    to_model: LipSyncModel = msgspec.field(name="to")
    reason: str
    weights: str | msgspec.UnsetType = msgspec.UNSET
    """Weights of the new model; see `ResponseStart`."""


class Poster(msgspec.Struct, rename="camel", tag="poster"):
    """The face at rest, to show until the first frame; not a frame of a turn.

    Always a text message: a client of `BINARY_SUBPROTOCOL` may treat every binary message as a
    frame.
    """

    session_id: str
    face_model_id: str
    frame_data: bytes
    format: str
    width: int
    height: int


class SessionResumed(msgspec.Struct, rename="camel", tag="session_resumed"):
    """The session is resumed over this connection."""

    session_id: str
    turn_id: str | None
    """The turn whose audio is incomplete, or null."""
    next_sequence_number: int
    """Number of the first missing chunk; earlier ones have arrived."""
    open_turns: list[str]
    """Turns without `response_end` yet."""


class SessionWarning(msgspec.Struct, rename="camel", tag="session_warning"):
    """The session ends soon."""

    session_id: str
    reason: str
    seconds_left: float


class ErrorMessage(msgspec.Struct, rename="camel", tag="error"):
    """A failure that the client can act on."""

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
