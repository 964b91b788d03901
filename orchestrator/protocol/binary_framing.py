"""The layout of binary messages, the same both ways: a header's length, a JSON header, and bytes as
they are.
"""

from __future__ import annotations

from typing import Final

from orchestrator.core.errors import invalid_field

BINARY_SUBPROTOCOL: Final = "lipsync.binary.v1"
"""WebSocket subprotocol in which audio and frames travel as bytes: a third less than base64, and no
coding.
"""

HEADER_LENGTH_BYTES: Final = 4


def split_binary(message: bytes) -> tuple[bytes, bytes]:
    """Header and payload of a binary message: 4 bytes with the header's length, big endian, the
    header, and the rest.
    """
    length = int.from_bytes(message[:HEADER_LENGTH_BYTES], "big")
    start = HEADER_LENGTH_BYTES
    if len(message) < start or length > len(message) - start:
        raise invalid_field(
            "header",
            f"of {length} bytes does not fit a message of {len(message)}; its length comes first, "
            "in 4 bytes",
        )
    return message[start : start + length], message[start + length :]


def join_binary(header: bytes, payload: bytes) -> bytes:
    """The message that `split_binary` takes apart."""
    return b"".join((len(header).to_bytes(HEADER_LENGTH_BYTES, "big"), header, payload))
