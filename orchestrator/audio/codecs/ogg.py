"""Split a run of Ogg pages (RFC 3533) into packets, with a check of every length."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from orchestrator.core.errors import LipSyncError, invalid_field

CAPTURE = b"OggS"
_HEADER_BYTES = 27
_REVERSED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True, slots=True)
class OggPage:
    """One page: its completed packets and the part of a packet that it leaves open."""

    serial: int
    sequence: int
    granule: int
    """Position at the page's end in the codec's clock; -1 when no packet ends on the page."""
    is_continued: bool
    """True if the first piece belongs to a packet begun on the page before."""
    is_first: bool
    is_last: bool
    complete: tuple[bytes, ...]
    open_tail: bytes | None
    """Beginning of a packet that continues in the next page."""


def read_pages(data: bytes) -> list[OggPage]:
    """Parse all pages of `data`.

    Raises `LipSyncError` on `audioChunk.data` for anything but whole, intact pages.
    """
    pages, offset = [], 0
    while offset < len(data):
        page, offset = _read_page(data, offset)
        pages.append(page)
    return pages


def _read_page(data: bytes, start: int) -> tuple[OggPage, int]:
    header = data[start : start + _HEADER_BYTES]
    if header[:4] != CAPTURE[: len(header)] or header[4:5] not in (b"", b"\0"):
        raise _bad("does not continue with an Ogg page")
    if len(header) < _HEADER_BYTES:
        raise _bad("ends inside an Ogg page header; send whole pages")
    body = start + _HEADER_BYTES + header[26]
    lacing = data[start + _HEADER_BYTES : body]
    end = body + sum(lacing)
    if end > len(data) or len(lacing) < header[26]:
        raise _bad("ends inside an Ogg page; send whole pages")
    _check_crc(data[start:end], int.from_bytes(header[22:26], "little"))
    complete, open_tail = _pieces(data, body, lacing)
    page = OggPage(
        serial=int.from_bytes(header[14:18], "little"),
        sequence=int.from_bytes(header[18:22], "little"),
        granule=int.from_bytes(header[6:14], "little", signed=True),
        is_continued=bool(header[5] & 1),
        is_first=bool(header[5] & 2),
        is_last=bool(header[5] & 4),
        complete=complete,
        open_tail=open_tail,
    )
    return page, end


def _pieces(data: bytes, offset: int, lacing: bytes) -> tuple[tuple[bytes, ...], bytes | None]:
    """Packets of a page; each ends at the first lacing value below 255."""
    complete, begin = [], offset
    for length in lacing:
        offset += length
        if length < 255:
            complete.append(data[begin:offset])
            begin = offset
    is_open = bool(lacing) and lacing[-1] == 255
    return tuple(complete), data[begin:offset] if is_open else None


def _check_crc(page: bytes, expected: int) -> None:
    if page_crc(page) != expected:
        raise _bad("has an Ogg page with a wrong checksum")


def page_crc(page: bytes) -> int:
    """Ogg's CRC of a whole page, with its own CRC field taken as zero.

    Polynomial 0x04c11db7, most significant bit first. zlib's CRC-32 has the same polynomial with
    all bits mirrored, so mirrored bytes give the mirrored checksum.
    """
    zeroed = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(zeroed.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _bad(message: str) -> LipSyncError:
    return invalid_field("audioChunk.data", message)
