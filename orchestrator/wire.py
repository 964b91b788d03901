"""The wire, whole: camelCase JSON to and from records. Nothing else knows it; `docs/protocol.md` describes it."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from orchestrator.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.types import AudioChunk, AudioFormat, LipSyncModel, Resolution, StreamingFrame, VideoFormat

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
"""Above this the socket itself is closed (1009); far above any chunk, so that an oversized chunk still gets a typed error."""

MAX_AUDIO_BYTES: Final = 4 * 1024 * 1024
"""Decoded bytes of one chunk: 2 s of 48 kHz stereo float WAV is 0.8 MB."""

BINARY_SUBPROTOCOL: Final = "lipsync.binary.v1"
"""WebSocket subprotocol in which audio and frames travel as bytes: a third less than base64, and no coding."""

HEADER_LENGTH_BYTES: Final = 4

Identifier: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,128}\Z")]


class WireResolution(msgspec.Struct, rename="camel"):
    """`config.resolution`."""

    width: int
    height: int


class WireConfig(msgspec.Struct, rename="camel"):
    """`config`: every field is optional."""

    target_fps: float | None = None
    resolution: WireResolution | None = None
    format: VideoFormat | None = None
    quality: int | None = None
    enable_interpolation: bool | None = None


class WireAudioChunk(msgspec.Struct, rename="camel"):
    """`audioChunk`; `data` is base64."""

    data: str
    timestamp: float
    sequence_number: int
    sample_rate: int
    channels: int
    format: AudioFormat


class WireAudio(msgspec.Struct, rename="camel", tag="lipsync_audio"):
    """One chunk of a turn's audio; the first one of a session opens it."""

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
    """The listener spoke: the turn's remaining frames are worthless."""

    session_id: Identifier
    timestamp: float | None = None
    turn_index: int | None = None


class SwitchModel(msgspec.Struct, rename="camel", tag="switch_model"):
    """Prefer another model from the next frame on."""

    session_id: Identifier
    model: LipSyncModel


class ClientReport(msgspec.Struct, rename="camel", tag="client_report"):
    """What the client measured."""

    session_id: Identifier
    bandwidth_kbps: float | None = None
    packet_loss_percent: float | None = None
    av_offset_ms: float | None = None
    keyframe: bool = False
    """It lost what the next frames build on."""


class EndSession(msgspec.Struct, rename="camel", tag="end_session"):
    """The session is over; its resources are freed."""

    session_id: Identifier


class ResumeSession(msgspec.Struct, rename="camel", tag="resume_session"):
    """The connection was lost and this is the new one: go on where the session stood."""

    session_id: Identifier
    user_id: Identifier
    turn_id: Identifier | None = None
    """The turn whose frames were coming."""
    next_frame: int | None = None
    """The number that its next frame is to have: how many of it came."""


ClientMessage: TypeAlias = WireAudio | EndUtterance | Interruption | SwitchModel | ClientReport | EndSession | ResumeSession

MESSAGE_TYPES: Final = (
    "lipsync_audio",
    "end_utterance",
    "interruption",
    "switch_model",
    "client_report",
    "end_session",
    "resume_session",
)


class ResponseStart(msgspec.Struct, rename="camel", tag="response_start"):
    """A turn begins."""

    session_id: str
    turn_id: str
    model: LipSyncModel
    timestamp: float
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
    jitter_ms: float = 0.0
    """Running mean of the differences between neighbouring frames' latencies (RFC 3550)."""
    av_offset_ms: float | None = None
    """Median of what the client reported last, positive when the picture is ahead; null if it reported nothing."""
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
    ResponseStart | ResponseVideo | ResponseEnd | ModelSwitched | Poster | SessionResumed | SessionWarning | ErrorMessage
)


@dataclass(frozen=True, slots=True)
class AudioRequest:
    """A valid `lipsync_audio` message."""

    session_id: str
    user_id: str
    chunk: AudioChunk
    face_model_id: str | None
    model_preference: LipSyncModel | None
    turn_id: str | None
    config: WireConfig


_decoder: Final = msgspec.json.Decoder(ClientMessage)
_encoder: Final = msgspec.json.Encoder()
_PATH: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED: Final = re.compile(r"`(?P<name>[A-Za-z]+)`")


def parse(text: str | bytes) -> ClientMessage:
    """One client message; raises `LipSyncError` INVALID_MESSAGE that names the field."""
    try:
        message: ClientMessage = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_field("message", f"is not valid JSON ({error}); send one JSON object per WebSocket text message") from None
    return message


def parse_binary(message: bytes) -> tuple[ClientMessage, bytes]:
    """One client message of `BINARY_SUBPROTOCOL`, and the raw bytes that stand for its `data`; errors as for `parse`."""
    header, payload = split_binary(message)
    try:
        fields = msgspec.json.decode(header)
        if isinstance(fields, dict) and isinstance(fields.get("audioChunk"), dict):
            fields["audioChunk"]["data"] = ""
        return msgspec.convert(fields, ClientMessage), payload
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_field("header", f"is not valid JSON ({error}); send 4 bytes of its length, then one JSON object") from None


def split_binary(message: bytes) -> tuple[bytes, bytes]:
    """Header and payload of a binary message: 4 bytes with the header's length, big endian, the header, and the rest."""
    length = int.from_bytes(message[:HEADER_LENGTH_BYTES], "big")
    start = HEADER_LENGTH_BYTES
    if len(message) < start or length > len(message) - start:
        raise invalid_field("header", f"of {length} bytes does not fit a message of {len(message)}; its length comes first, in 4 bytes")
    return message[start : start + length], message[start + length :]


def session_of(text: str | bytes) -> str | None:
    """The session a refused message seems to speak of, so that its error can be told to the right one."""
    try:
        value = msgspec.json.decode(text if isinstance(text, str) else split_binary(text)[0])
    except LipSyncError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    session_id = value.get("sessionId") if isinstance(value, dict) else None
    return session_id if isinstance(session_id, str) and len(session_id) <= 128 else None


def audio_request(message: WireAudio, payload: bytes | None = None) -> AudioRequest:
    """Check sizes and ranges; raises `LipSyncError` that names the field. `payload` is a binary message's audio, else base64 is decoded."""
    wire = message.audio_chunk
    if max(len(payload or b""), len(wire.data) * 3 // 4 - 3) > MAX_AUDIO_BYTES:
        raise invalid_field("audioChunk.data", f"holds more than {MAX_AUDIO_BYTES} bytes; send chunks of 10 ms to 2 s")
    try:
        data = base64.b64decode(wire.data, validate=True) if payload is None else payload
    except ValueError:
        raise invalid_field("audioChunk.data", "is not valid base64") from None
    if not data:
        raise invalid_field("audioChunk.data", "is empty; send at least one sample, or end_utterance when there is no more")
    if not math.isfinite(wire.timestamp) or not 0 <= wire.timestamp < 1e15:
        raise invalid_field("audioChunk.timestamp", "must be milliseconds of the client's clock, 0 or more")
    if wire.sequence_number < 0:
        raise invalid_field("audioChunk.sequenceNumber", "must be 0 or more")
    if wire.format is not AudioFormat.WAV:
        _check_range("audioChunk.sampleRate", wire.sample_rate, 8000, 48000)
        _check_range("audioChunk.channels", wire.channels, 1, 2)
    chunk = AudioChunk(data, wire.timestamp, wire.sequence_number, wire.sample_rate, wire.channels, wire.format)
    config = message.config or WireConfig()
    check_config(config)
    return AudioRequest(
        message.session_id, message.user_id, chunk, message.face_model_id, message.model_preference, message.turn_id, config
    )


def check_config(config: WireConfig) -> None:
    """Ranges of the `config` object."""
    if config.target_fps is not None:
        _check_range("config.targetFps", config.target_fps, 15, 25)
    if config.quality is not None:
        _check_range("config.quality", config.quality, 0, 100)
    if config.resolution is not None:
        size = Resolution(config.resolution.width, config.resolution.height)
        if size.width != size.height or size.width not in (128, 256, 512):
            raise invalid_field("config.resolution", "must be 128x128, 256x256 or 512x512")


def dump(message: ServerMessage) -> str:
    """One server message as JSON text."""
    return _encoder.encode(message).decode()


def video_message(session_id: str, turn_id: str, frame: StreamingFrame, sequence_number: int) -> ResponseVideo:
    """A coded frame as the wire has it, under the number that the client expects next."""
    return ResponseVideo(
        session_id=session_id,
        turn_id=turn_id,
        frame_data=frame.data,
        sequence_number=sequence_number,
        timestamp=wire_time(frame.timestamp_ms),
        audio_timestamp=wire_time(frame.audio_timestamp_ms),
        format=frame.format,
        is_keyframe=frame.is_keyframe,
        width=frame.resolution.width,
        height=frame.resolution.height,
        model=frame.lip_sync_model,
        is_interpolated=frame.is_interpolated,
    )


def frame_text(session_id: str, turn_id: str, frame: StreamingFrame) -> str:
    """A coded frame as a text message."""
    return dump(video_message(session_id, turn_id, frame, frame.sequence_number))


def dump_binary(message: ResponseVideo) -> bytes:
    """A frame for clients of `BINARY_SUBPROTOCOL`: the header without `frameData`, then the frame's own bytes."""
    fields = msgspec.to_builtins(msgspec.structs.replace(message, frame_data=b""))
    del fields["frameData"]
    header = _encoder.encode(fields)
    return b"".join((len(header).to_bytes(HEADER_LENGTH_BYTES, "big"), header, message.frame_data))


def error_message(error: LipSyncError, session_id: str | None) -> ErrorMessage:
    """What a client is told of an error."""
    return ErrorMessage(session_id, error.code, error.message, error.recoverable, error.fallback_available, error.details)


def wire_time(time_ms: float) -> float:
    """Milliseconds as the wire writes them: whole numbers without a fraction, others to the microsecond."""
    return int(time_ms) if time_ms == int(time_ms) else round(time_ms, 3)


def _check_range(field: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise invalid_field(field, f"is {value:g}; must be between {lowest:g} and {highest:g}")


def _explain(problem: str) -> LipSyncError:
    match = _PATH.match(problem)
    what, path = (match["what"], match["path"] or "") if match else (problem, "")
    named = _NAMED.search(what)
    if "required field" in what and named:
        path = f"{path}.{named['name']}".strip(".")
        return invalid_field(path, "is required but missing")
    if path in ("", "type") and "Invalid value" in what:
        return invalid_field("type", f"is not a known message type; send one of {', '.join(MESSAGE_TYPES)}")
    return invalid_field(path or "message", what[:1].lower() + what[1:])
