"""Messages of clients, as records of camelCase JSON."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from orchestrator.core.types import AudioFormat, LipSyncModel, VideoFormat

Identifier: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=r"^(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,128}\Z")
]


Bandwidth: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=1e8)]
Percent: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
Offset: TypeAlias = Annotated[float, msgspec.Meta(ge=-60_000.0, le=60_000.0)]
"""Milliseconds. A minute is far beyond any correction."""

Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
"""Integers that a double holds exactly; JSON itself has no limit."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


def wire_value(value: object) -> str:
    """Encode what msgspec does not know: the names of models (its `enc_hook`)."""
    if isinstance(value, LipSyncModel):
        return value.value
    raise NotImplementedError(f"{type(value).__name__} has no form on the wire")


def record_value(kind: type, value: object) -> object:
    """Decode what msgspec does not know (its `dec_hook`); raises ValueError for an unknown name."""
    return kind(value)


class WireResolution(msgspec.Struct, rename="camel"):
    """`config.resolution`."""

    width: Whole
    height: Whole


class WireConfig(msgspec.Struct, rename="camel"):
    """`config`: every field is optional."""

    target_fps: float | None = None
    resolution: WireResolution | None = None
    format: VideoFormat | None = None
    quality: Whole | None = None
    enable_interpolation: bool | None = None


class WireAudioChunk(msgspec.Struct, rename="camel"):
    """`audioChunk`; `data` is base64."""

    data: str
    timestamp: float
    sequence_number: Whole
    sample_rate: Whole
    channels: Whole
    format: AudioFormat


class WireAudio(msgspec.Struct, rename="camel", tag="lipsync_audio"):
    """One chunk of a turn's audio; the first chunk opens the session."""

    session_id: Identifier
    user_id: Identifier
    audio_chunk: WireAudioChunk
    face_model_id: Identifier | None = None
    model_preference: LipSyncModel | None = None
    turn_id: Identifier | None = None
    config: WireConfig | None = None


class EndUtterance(msgspec.Struct, rename="camel", tag="end_utterance"):
    """The turn's audio is complete."""

    session_id: Identifier
    timestamp: float | None = None


class Interruption(msgspec.Struct, rename="camel", tag="interruption"):
    """The listener interrupted: the turn's remaining frames are void."""

    session_id: Identifier
    turn_id: Identifier | None = None
    """The turn to interrupt, current or queued; by default the current one."""
    timestamp: float | None = None
    turn_index: Whole | None = None


class SwitchModel(msgspec.Struct, rename="camel", tag="switch_model"):
    """Prefer another model from the next frame on."""

    session_id: Identifier
    model: LipSyncModel


class ClientReport(msgspec.Struct, rename="camel", tag="client_report"):
    """Measurements of the client."""

    session_id: Identifier
    bandwidth_kbps: Bandwidth | None = None
    packet_loss_percent: Percent | None = None
    av_offset_ms: Offset | None = None
    keyframe: bool = False
    """True where it lost a frame that the next ones depend on."""


class EndSession(msgspec.Struct, rename="camel", tag="end_session"):
    """End of the session; its resources are freed."""

    session_id: Identifier


class ResumeSession(msgspec.Struct, rename="camel", tag="resume_session"):
    """Resume the session over a new connection, after the old one was lost."""

    session_id: Identifier
    user_id: Identifier
    turn_id: Identifier | None = None
    """The turn whose frames the client was receiving."""
    next_frame: Count | None = None
    """Sequence number of its next frame: the number of frames received."""
    instance: Identifier | None = None
    """`instance` of the session's last `response_start`."""


ClientMessage: TypeAlias = (
    WireAudio
    | EndUtterance
    | Interruption
    | SwitchModel
    | ClientReport
    | EndSession
    | ResumeSession
)

MESSAGE_TYPES: Final = (
    "lipsync_audio",
    "end_utterance",
    "interruption",
    "switch_model",
    "client_report",
    "end_session",
    "resume_session",
)
