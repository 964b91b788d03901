"""Plan the Opus packets of an Ogg stream to decode, and their trims (RFC 7845).

The plan is complete before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.audio.codecs.ogg import OggPage
from orchestrator.audio.codecs.opus_packet import packet_samples
from orchestrator.core.errors import LipSyncError, invalid_field

_MAX_OPEN_PACKET_BYTES = 61_440
"""Packet size that RFC 7845 section 6 asks readers to accept.

Only comment headers with pictures are longer.
"""


@dataclass(frozen=True, slots=True)
class OpusPiece:
    """One packet to decode; counts are samples at 48 kHz."""

    packet: bytes
    skip_samples: int = 0
    """Samples to drop from the front: the encoder's delay."""
    trim_samples: int = 0
    """Samples to drop from the end: padding of the stream's last packets."""
    gain: float = 1.0
    restarts_decoder: bool = False


@dataclass(frozen=True, slots=True)
class OggOpusPosition:
    """Position in an Ogg Opus stream between two chunks."""

    serial: int | None = None
    sequence: int = -1
    """Sequence number of the newest page."""
    audio_sequence: int = -1
    """Sequence number of the newest page with audio.

    It distinguishes repeated head pages from those of a new stream.
    """
    open_packet: bytes | None = None
    head: bytes | None = None
    """An OpusHead whose audio has not begun yet."""
    skip_samples: int = 0
    gain: float = 1.0
    granule: int | None = None
    """Position at the end of the newest page, 48 kHz; None before the first page of audio."""


def plan_pages(
    position: OggOpusPosition, pages: Sequence[OggPage]
) -> tuple[list[OpusPiece], OggOpusPosition]:
    """The pieces to decode for `pages` and the position after them.

    A stream may begin without its head pages (joined in the middle), repeat them, or be followed by
    another stream. Raises `LipSyncError` on `audioChunk.data`.
    """
    pieces: list[OpusPiece] = []
    for page in pages:
        position, packets = _whole_packets(position, page)
        if packets and packets[0][:8] == b"OpusHead":
            position = replace(position, head=_checked_head(packets.pop(0)))
        audio = [packet for packet in packets if packet[:8] != b"OpusTags"]
        if audio:
            page_pieces, position = _plan_audio(_begun(position, page), page, audio)
            pieces += page_pieces
    return pieces, position


def _whole_packets(position: OggOpusPosition, page: OggPage) -> tuple[OggOpusPosition, list[bytes]]:
    """Join packets that span pages; a packet whose other part was lost is dropped."""
    _check_stream(position, page)
    pieces = [*page.complete, *([] if page.open_tail is None else [page.open_tail])]
    if page.is_continued and pieces:
        if position.open_packet is not None and page.sequence == position.sequence + 1:
            pieces[0] = position.open_packet + pieces[0]
        else:
            del pieces[0]
    open_packet = pieces.pop() if page.open_tail is not None and pieces else None
    if open_packet is not None and len(open_packet) > _MAX_OPEN_PACKET_BYTES:
        open_packet = open_packet[:8]
    is_new = page.serial != position.serial
    position = replace(
        position,
        serial=page.serial,
        sequence=page.sequence,
        audio_sequence=2**32 if is_new else position.audio_sequence,
        open_packet=open_packet,
    )
    return position, pieces


def _check_stream(position: OggOpusPosition, page: OggPage) -> None:
    if page.is_first and not (page.complete and page.complete[0][:8] == b"OpusHead"):
        raise _bad("is an Ogg stream of another codec; send Opus")
    if position.serial not in (None, page.serial) and not page.is_first:
        raise _bad("holds pages of a second Ogg stream without its head page")


def _checked_head(head: bytes) -> bytes:
    """Check a head: mapping family 0 is plain mono or stereo.

    Others hold several Opus streams side by side.
    """
    if len(head) < 19 or head[8] & 0xF0:
        raise _bad("has an OpusHead that is cut off or of an unknown version")
    if head[18] != 0 or not 1 <= head[9] <= 2:
        raise invalid_field("audioChunk.channels", f"the Opus stream has {head[9]}; send 1 or 2")
    return head


def _begun(position: OggOpusPosition, page: OggPage) -> OggOpusPosition:
    """Apply a waiting head, unless its stream has begun and the head was only repeated."""
    head = position.head
    if head is None:
        return position
    if page.sequence > position.audio_sequence >= 0:
        return replace(position, head=None)
    gain_db = int.from_bytes(head[16:18], "little", signed=True) / 256
    return replace(
        position,
        skip_samples=int.from_bytes(head[10:12], "little"),
        gain=10 ** (gain_db / 20),
        granule=None,
    )


def _plan_audio(
    position: OggOpusPosition, page: OggPage, packets: Sequence[bytes]
) -> tuple[list[OpusPiece], OggOpusPosition]:
    counts = [packet_samples(packet) for packet in packets]
    if 0 in counts:
        raise _bad("holds a damaged Opus packet")
    trims = _trims(position, page, counts)
    pieces, skip, restarts = [], position.skip_samples, position.head is not None
    for packet, count, trim in zip(packets, counts, trims, strict=True):
        pieces.append(OpusPiece(packet, min(skip, count), trim, position.gain, restarts))
        skip, restarts = skip - min(skip, count), False
    granule = page.granule if page.granule >= 0 else position.granule
    position = replace(
        position, head=None, skip_samples=skip, audio_sequence=page.sequence, granule=granule
    )
    return pieces, position


def _trims(position: OggOpusPosition, page: OggPage, counts: Sequence[int]) -> list[int]:
    """Samples to drop from each packet's end.

    On the last page the granule position marks the end of the audio.
    """
    if not page.is_last or page.granule < 0:
        return [0] * len(counts)
    surplus = max(0, (position.granule or 0) + sum(counts) - page.granule)
    trims = []
    for count in reversed(counts):
        trims.append(min(count, surplus))
        surplus -= trims[-1]
    return trims[::-1]


def _bad(message: str) -> LipSyncError:
    return invalid_field("audioChunk.data", message)
