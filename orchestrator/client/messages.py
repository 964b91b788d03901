"""The client's half of the wire: what it reads as records that pass over what they do not know, and
what it writes.
"""

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
    """Counts the turn's frames from 0, without holes."""
    timestamp: float
    """When to show it, in milliseconds of the client's own clock."""
    audio_timestamp: float
    """The same clock at the sound it belongs to."""
    format: str
    is_keyframe: bool
    width: int
    height: int
    model: str
    """Drew it."""
    is_interpolated: bool = False
    data: bytes = msgspec.field(name="frameData", default=b"")
    """A JPEG, or one H.264 access unit (Annex B)."""


class Poster(msgspec.Struct, rename="camel", tag="poster", frozen=True):
    """The face at rest, to be shown until the first frame is there."""

    session_id: str
    face_model_id: str
    format: str
    width: int
    height: int
    data: bytes = msgspec.field(name="frameData", default=b"")


class Start(msgspec.Struct, rename="camel", tag="response_start", frozen=True):
    """A turn begins."""

    session_id: str
    turn_id: str
    model: str
    instance: str | None = None
    """Of the service, that has the session."""


class End(msgspec.Struct, rename="camel", tag="response_end", frozen=True):
    """A turn is over."""

    session_id: str
    turn_id: str
    metrics: dict[str, Any]
    """As on the wire: `framesGenerated`, `averageLatencyMs`, `bitrateBps`, ..."""
    interrupted: bool = False


class Switch(msgspec.Struct, tag="model_switched", frozen=True):
    """Another model draws from the next frame on."""

    session_id: str = msgspec.field(name="sessionId")
    before: str = msgspec.field(name="from")
    after: str = msgspec.field(name="to")
    reason: str


class Resumed(msgspec.Struct, rename="camel", tag="session_resumed", frozen=True):
    """The session goes on."""

    session_id: str
    turn_id: str | None
    next_sequence_number: int
    open_turns: list[str]


class Warned(msgspec.Struct, rename="camel", tag="session_warning", frozen=True):
    """The session ends soon."""

    session_id: str
    reason: str
    seconds_left: float


class Refused(msgspec.Struct, rename="camel", tag="error", frozen=True):
    """Something went wrong."""

    session_id: str | None
    error_code: str
    error_message: str
    recoverable: bool = True
    fallback_available: bool = False
    details: dict[str, Any] = {}


ServerMessage: TypeAlias = Frame | Poster | Start | End | Switch | Resumed | Warned | Refused

_decoder: Final = msgspec.json.Decoder(ServerMessage)
_encoder: Final = msgspec.json.Encoder(enc_hook=protocol.wire_value)


def read(data: str | bytes) -> ServerMessage | None:
    """One message, of text or of `lipsync.binary.v1`; None for a kind that this client does not
    know.
    """
    try:
        if isinstance(data, str):
            whole: ServerMessage = _decoder.decode(data)
            return whole
        header, payload = protocol.split_binary(data)
        message: ServerMessage = _decoder.decode(header)
        return (
            msgspec.structs.replace(message, data=payload)
            if isinstance(message, Frame)
            else message
        )
    except msgspec.ValidationError:
        return None


def text(message: protocol.ClientMessage) -> str:
    """A message as JSON text."""
    return _encoder.encode(message).decode()


def audio_text(message: protocol.WireAudio, audio: bytes) -> str:
    """A chunk as JSON text, its audio in base64."""
    chunk = msgspec.structs.replace(message.audio_chunk, data=base64.b64encode(audio).decode())
    return text(msgspec.structs.replace(message, audio_chunk=chunk))


def audio_bytes(message: protocol.WireAudio, audio: bytes) -> bytes:
    """A chunk as a binary message: the header's length, the header, and the audio as it is."""
    header = _encoder.encode(message)
    return protocol.join_binary(header, audio)
