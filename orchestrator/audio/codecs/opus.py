"""Decode Opus, as bare packets or Ogg pages, to 48 kHz mono.

The only file that holds a libopus decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from orchestrator.audio.codecs.ogg import CAPTURE, read_pages
from orchestrator.audio.codecs.ogg_opus import OggOpusPosition, OpusPiece, plan_pages
from orchestrator.audio.codecs.opus_packet import OPUS_RATE_HZ, packet_samples
from orchestrator.core.errors import invalid_field
from orchestrator.core.types import Samples


class OpusDecoder:
    """Opus decoder of one turn; it survives bad packets."""

    def __init__(self) -> None:
        self._codec = _new_codec()
        self._position = OggOpusPosition()

    def decode(self, data: bytes, max_duration_s: float) -> Samples:
        """48 kHz mono samples of one bare packet or of a run of whole Ogg pages.

        Ogg's encoder delay and padding are cut off as its headers specify; bare packets carry no
        such note and keep theirs. Raises `LipSyncError` on `audioChunk.data`. A truncated Ogg page
        is always detected; a truncated bare packet may still decode, since Opus packets carry
        neither length nor checksum.
        """
        if data[:4] == CAPTURE:
            pieces, position = plan_pages(self._position, read_pages(data))
        else:
            pieces, position = [OpusPiece(data)], self._position
        _check_duration(pieces, max_duration_s)
        parts = [self._decode_piece(piece) for piece in pieces]
        self._position = position
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _decode_piece(self, piece: OpusPiece) -> Samples:
        import av  # imported here, since sessions that send PCM do not need it

        if piece.restarts_decoder:
            self._codec = _new_codec()
        try:
            frames = self._codec.decode(av.Packet(piece.packet))
        except av.FFmpegError as error:
            raise invalid_field("audioChunk.data", "holds a damaged Opus packet") from error
        samples = (
            np.concatenate([frame.to_ndarray()[0] for frame in frames])
            if frames
            else np.zeros(0, np.float32)
        )
        kept: Samples = samples[
            piece.skip_samples : len(samples) - piece.trim_samples
        ] * np.float32(piece.gain)
        return kept


def _new_codec() -> Any:
    """Open libopus with one channel: it mixes to mono itself, whatever the packets hold."""
    import av

    codec = av.CodecContext.create("libopus", "r")
    codec.sample_rate = OPUS_RATE_HZ
    codec.layout = "mono"
    codec.options = {"request_sample_fmt": "flt"}
    return codec


def _check_duration(pieces: Sequence[OpusPiece], max_duration_s: float) -> None:
    counts = [packet_samples(piece.packet) for piece in pieces]
    if 0 in counts:
        raise invalid_field(
            "audioChunk.data", "is not an Opus packet; send one packet or whole Ogg pages per chunk"
        )
    if sum(counts) > max_duration_s * OPUS_RATE_HZ:
        raise invalid_field(
            "audioChunk.data",
            f"holds {sum(counts) / OPUS_RATE_HZ:.2f} s of audio; send at most {max_duration_s:g} s",
        )
