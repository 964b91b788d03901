"""Encode the messages of the service as JSON or as bytes."""

from __future__ import annotations

from typing import Final

import msgspec

from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import StreamingFrame
from orchestrator.protocol.binary_framing import join_binary
from orchestrator.protocol.client_messages import wire_value
from orchestrator.protocol.server_messages import ErrorMessage, ResponseVideo, ServerMessage

_encoder: Final = msgspec.json.Encoder(enc_hook=wire_value)


def dump(message: ServerMessage) -> str:
    """Encode a message as JSON text."""
    return _encoder.encode(message).decode()


def video_message(
    session_id: str, turn_id: str, frame: StreamingFrame, sequence_number: int
) -> ResponseVideo:
    """Make the message of an encoded frame, under the number that the client expects next."""
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
    """Encode a frame as a text message."""
    return dump(video_message(session_id, turn_id, frame, frame.sequence_number))


def dump_binary(message: ResponseVideo) -> bytes:
    """Encode a frame for `BINARY_SUBPROTOCOL`: header without `frameData`, then the raw bytes."""
    fields = msgspec.to_builtins(
        msgspec.structs.replace(message, frame_data=b""), enc_hook=wire_value
    )
    del fields["frameData"]
    header = _encoder.encode(fields)
    return join_binary(header, message.frame_data)


def error_message(error: LipSyncError, session_id: str | None) -> ErrorMessage:
    """Make the message that reports an error to a client."""
    return ErrorMessage(
        session_id,
        error.code,
        error.message,
        error.recoverable,
        error.fallback_available,
        error.details,
    )


def wire_time(time_ms: float) -> float:
    """Round milliseconds for the wire: integers without a fraction, others to the microsecond."""
    return int(time_ms) if time_ms == int(time_ms) else round(time_ms, 3)
