"""Messages of the wire as the client decodes and encodes them; unknown fields are ignored."""

from __future__ import annotations

import base64
from typing import Any, Final, TypeAlias

import msgspec

from orchestrator import protocol


class Frame(msgspec.Struct, rename="camel", tag="response_video", frozen=True):
    """One picture of a turn."""

    session_id: str
    turn_id: str
    sequence_number: int
    """Number of the frame in its turn, from 0 without gaps."""
    timestamp: float
    """Time to present the frame, in milliseconds of the client's own clock."""
    audio_timestamp: float
    """Time of the sound that the frame belongs to, in milliseconds of the same clock."""
    format: str
    is_keyframe: bool
    width: int
    height: int
    model: str
    """Model that generated the frame."""
    is_interpolated: bool = False
    data: bytes = msgspec.field(name="frameData", default=b"")
    """A JPEG, or one H.264 access unit (Annex B)."""


class Poster(msgspec.Struct, rename="camel", tag="poster", frozen=True):
    """The face at rest, to be shown until the first frame arrives."""

    session_id: str
    face_model_id: str
    format: str
    width: int
    height: int
    data: bytes = msgspec.field(name="frameData", default=b"")
    """A JPEG."""


class Start(msgspec.Struct, rename="camel", tag="response_start", frozen=True):
    """Start of a turn."""

    session_id: str
    turn_id: str
    model: str
    instance: str | None = None
    """Instance of the service that has the session."""


class End(msgspec.Struct, rename="camel", tag="response_end", frozen=True):
    """End of a turn."""

    session_id: str
    turn_id: str
    metrics: dict[str, Any]
    """Metrics of the turn by wire name: `framesGenerated`, `averageLatencyMs`, ..."""
    interrupted: bool = False


class Switch(msgspec.Struct, tag="model_switched", frozen=True):
    """Switch to another model from the next frame on."""

    session_id: str = msgspec.field(name="sessionId")
    before: str = msgspec.field(name="from")
    after: str = msgspec.field(name="to")
    reason: str


class Resumed(msgspec.Struct, rename="camel", tag="session_resumed", frozen=True):
    """The service resumes a session after a lost connection."""

    session_id: str
    turn_id: str | None
    next_sequence_number: int
    """First audio chunk of `turn_id` that the service lacks."""
    open_turns: list[str]
    """Turns that the service has and that are not over, by id."""


class SessionWarning(msgspec.Struct, rename="camel", tag="session_warning", frozen=True):
    """Warning that the session ends soon."""

    session_id: str
    reason: str
    seconds_left: float


class ErrorMessage(msgspec.Struct, rename="camel", tag="error", frozen=True):
    """Error of a session, or of a message that belongs to none."""

    session_id: str | None
    error_code: str
    error_message: str
    recoverable: bool = True
    fallback_available: bool = False
    details: dict[str, Any] = {}


ServerMessage: TypeAlias = (
    Frame | Poster | Start | End | Switch | Resumed | SessionWarning | ErrorMessage
)

_decoder: Final = msgspec.json.Decoder(ServerMessage)
_encoder: Final = msgspec.json.Encoder(enc_hook=protocol.wire_value)


def decode(data: str | bytes) -> ServerMessage | None:
    """Decode a message of JSON text or of `lipsync.binary.v1`; None for an unknown type."""
    try:
        if isinstance(data, str):
            message: ServerMessage = _decoder.decode(data)
            return message
        header, payload = protocol.split_binary(data)
        message = _decoder.decode(header)
        is_frame = isinstance(message, Frame)
        return msgspec.structs.replace(message, data=payload) if is_frame else message
    except msgspec.ValidationError:
        return None


def encode(message: protocol.ClientMessage) -> str:
    """Encode a message as JSON text."""
    return _encoder.encode(message).decode()


def encode_audio_base64(message: protocol.WireAudio, audio: bytes) -> str:
    """Encode a chunk as JSON text with its audio in base64."""
    chunk = msgspec.structs.replace(message.audio_chunk, data=base64.b64encode(audio).decode())
    return encode(msgspec.structs.replace(message, audio_chunk=chunk))


def encode_audio_binary(message: protocol.WireAudio, audio: bytes) -> bytes:
    """Encode a chunk as a binary message: header length, JSON header, audio bytes."""
    return protocol.join_binary(_encoder.encode(message), audio)
