"""Layout of binary messages in both directions: header length, JSON header, raw bytes."""

from __future__ import annotations

from typing import Final

from orchestrator.core.errors import invalid_field

BINARY_SUBPROTOCOL: Final = "lipsync.binary.v1"
"""WebSocket subprotocol with audio and frames as raw bytes. Base64 takes a third more bytes, and
time to encode.
"""

HEADER_LENGTH_BYTES: Final = 4


def split_binary(message: bytes) -> tuple[bytes, bytes]:
    """Split a binary message into header and payload.

    Its first 4 bytes are the header's length, big endian. Raises INVALID_MESSAGE where that exceeds
    the message.
    """
    length = int.from_bytes(message[:HEADER_LENGTH_BYTES], "big")
    start = HEADER_LENGTH_BYTES
    if len(message) < start or length > len(message) - start:
        raise invalid_field(
            "header",
            f"of {length} bytes does not fit a message of {len(message)}; send the header's length "
            "first, in 4 bytes, big endian",
        )
    return message[start : start + length], message[start + length :]


def join_binary(header: bytes, payload: bytes) -> bytes:
    """Join header and payload to a message for `split_binary`."""
    return b"".join((len(header).to_bytes(HEADER_LENGTH_BYTES, "big"), header, payload))
