"""Decode and check the messages of clients; errors name the field."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Final

import msgspec

from orchestrator.core.errors import LipSyncError, invalid_field
from orchestrator.core.types import AudioChunk, AudioFormat, LipSyncModel, Resolution
from orchestrator.protocol.binary_framing import split_binary
from orchestrator.protocol.client_messages import (
    ClientMessage,
    Identifier,
    WireAudio,
    WireConfig,
    record_value,
)
from orchestrator.protocol.field_errors import wire_fault

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
"""Larger messages close the socket (1009). Far above any chunk, so that an oversized chunk still
gets a typed error.
"""

MAX_AUDIO_BYTES: Final = 4 * 1024 * 1024
"""Decoded bytes of one chunk: 2 s of 48 kHz stereo float WAV is 0.8 MB."""


class _Naming(msgspec.Struct, rename="camel"):
    """The session id of any message."""

    session_id: Identifier | None = None


_naming: Final = msgspec.json.Decoder(_Naming)
_decoder: Final = msgspec.json.Decoder(ClientMessage, dec_hook=record_value)


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


def parse(text: str | bytes) -> ClientMessage:
    """Decode a text message; raises INVALID_MESSAGE that names the field."""
    try:
        message: ClientMessage = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise wire_fault(error, ClientMessage, text, "message") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_field(
            "message",
            f"is not valid JSON ({error}); send one JSON object per WebSocket text message",
        ) from None
    return message


def parse_binary(message: bytes) -> tuple[ClientMessage, bytes]:
    """Decode a message of `BINARY_SUBPROTOCOL` and the raw bytes of its `data`.

    Errors are those of `parse`.
    """
    header, payload = split_binary(message)
    try:
        fields = msgspec.json.decode(header)
    except msgspec.ValidationError as error:
        raise invalid_field("message", f"cannot be read ({error}); send numbers in range") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_field(
            "header",
            f"is not valid JSON ({error}); send 4 bytes of its length, then one JSON object",
        ) from None
    try:
        if isinstance(fields, dict) and isinstance(fields.get("audioChunk"), dict):
            fields["audioChunk"]["data"] = ""
        return msgspec.convert(fields, ClientMessage, dec_hook=record_value), payload
    except msgspec.ValidationError as error:
        raise wire_fault(error, ClientMessage, fields, "message") from None


def session_of(text: str | bytes) -> str | None:
    """Return the session id of a refused message, for its error; None without a valid one."""
    try:
        return _naming.decode(text if isinstance(text, str) else split_binary(text)[0]).session_id
    except LipSyncError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def audio_request(message: WireAudio, payload: bytes | None = None) -> AudioRequest:
    """Check sizes and ranges of an audio message; raises INVALID_MESSAGE that names the field.

    `payload` is the audio of a binary message; without it base64 is decoded.
    """
    wire = message.audio_chunk
    if max(len(payload or b""), len(wire.data) * 3 // 4 - 3) > MAX_AUDIO_BYTES:
        raise invalid_field(
            "audioChunk.data",
            f"holds more than {MAX_AUDIO_BYTES} bytes; send chunks of 10 ms to 2 s",
        )
    try:
        data = base64.b64decode(wire.data, validate=True) if payload is None else payload
    except ValueError:
        raise invalid_field("audioChunk.data", "is not valid base64") from None
    if not data:
        raise invalid_field(
            "audioChunk.data",
            "is empty; send at least one sample, or end_utterance when there is no more",
        )
    if not math.isfinite(wire.timestamp) or not 0 <= wire.timestamp < 1e15:
        raise invalid_field(
            "audioChunk.timestamp", "must be milliseconds of the client's clock, 0 or more"
        )
    if wire.sequence_number < 0:
        raise invalid_field("audioChunk.sequenceNumber", "must be 0 or more")
    if wire.format is not AudioFormat.WAV:
        _check_range("audioChunk.sampleRate", wire.sample_rate, 8000, 48000)
        _check_range("audioChunk.channels", wire.channels, 1, 2)
    chunk = AudioChunk(
        data, wire.timestamp, wire.sequence_number, wire.sample_rate, wire.channels, wire.format
    )
    config = message.config or WireConfig()
    check_config(config)
    return AudioRequest(
        message.session_id,
        message.user_id,
        chunk,
        message.face_model_id,
        message.model_preference,
        message.turn_id,
        config,
    )


def check_config(config: WireConfig) -> None:
    """Check the ranges of the `config` object; raises INVALID_MESSAGE."""
    if config.target_fps is not None:
        _check_range("config.targetFps", config.target_fps, 15, 25)
    if config.quality is not None:
        _check_range("config.quality", config.quality, 0, 100)
    if config.resolution is not None:
        size = Resolution(config.resolution.width, config.resolution.height)
        if size.width != size.height or size.width not in (128, 256, 512):
            raise invalid_field("config.resolution", "must be 128x128, 256x256 or 512x512")


def _check_range(field: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise invalid_field(field, f"is {value:g}; must be between {lowest:g} and {highest:g}")
