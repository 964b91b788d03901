"""Length of an Opus packet from its header, known and bounded before anything is decoded."""

from __future__ import annotations

OPUS_RATE_HZ = 48_000
MAX_PACKET_SAMPLES = 5_760
"""120 ms, RFC 6716 section 3.2.5."""


def packet_samples(packet: bytes) -> int:
    """Samples at 48 kHz in one packet by its first bytes; 0 when they are not valid.

    Source: RFC 6716, section 3.1.
    """
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        frame = (480, 960)[config & 1]
    else:
        frame = (120, 240, 480, 960)[config & 3]
    counted = packet[1] & 0x3F if len(packet) > 1 else 0
    samples = frame * (1, 2, 2, counted)[code]
    return samples if samples <= MAX_PACKET_SAMPLES else 0
