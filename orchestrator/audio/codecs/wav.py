"""Read the RIFF/WAVE headers of real text-to-speech engines.

They have streaming sizes, extensible formats and lost tails.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from orchestrator.audio.codecs.pcm import PcmLayout, SampleCoding, check_layout
from orchestrator.core.errors import LipSyncError, invalid_field

_PCM, _IEEE_FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_CODINGS = {
    (_PCM, 8): SampleCoding.U8,
    (_PCM, 16): SampleCoding.S16,
    (_PCM, 24): SampleCoding.S24,
    (_PCM, 32): SampleCoding.S32,
    (_IEEE_FLOAT, 32): SampleCoding.F32,
    (_IEEE_FLOAT, 64): SampleCoding.F64,
}
# Tail of the sub-format GUID of WAVE_FORMAT_EXTENSIBLE; its first two bytes are the format tag.
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_OPEN_SIZES = (0, 0xFFFFFFFF, 0x7FFFFFFF)
_OPEN_ENDED = 2**62


@dataclass(frozen=True, slots=True)
class WavPart:
    """Content of one WAV header, and the sample bytes that came with it."""

    layout: PcmLayout
    samples: bytes
    bytes_to_come: int
    """Sample bytes announced beyond those present; practically infinite if not announced."""


def is_wav(data: bytes) -> bool:
    """True if `data` begins with a RIFF/WAVE header, complete or not."""
    return data[:4] == b"RIFF" and data[8:12] in (b"WAVE", b"WAV", b"WA", b"W", b"")


def read_wav(data: bytes) -> WavPart:
    """The layout and sample bytes of a WAV file or of its beginning.

    A data size of 0, 0xFFFFFFFF or more than is present means "to the end of the data": streaming
    writers cannot know it. A complete file may be followed by bare samples (a header for the first
    chunk alone), so nothing bounds those. Raises `LipSyncError` naming the field for a truncated
    header, an unknown coding, a rate or channel count not served.
    """
    layout: PcmLayout | None = None
    offset = 12
    while offset + 8 <= len(data):
        name, size = (
            data[offset : offset + 4],
            int.from_bytes(data[offset + 4 : offset + 8], "little"),
        )
        body = offset + 8
        if name == b"fmt ":
            layout = _layout(data[body : body + size])
        elif name == b"data":
            return _part(layout, data[body:], size)
        offset = body + size + size % 2
    raise _bad("the WAV header is cut off before its samples")


def _part(layout: PcmLayout | None, rest: bytes, size: int) -> WavPart:
    if layout is None:
        raise _bad("the WAV header has no 'fmt ' chunk before its samples")
    if size in _OPEN_SIZES:
        return WavPart(layout, rest, _OPEN_ENDED)
    return WavPart(layout, rest[:size], size - len(rest) if size > len(rest) else _OPEN_ENDED)


def _layout(fmt: bytes) -> PcmLayout:
    if len(fmt) < 16:
        raise _bad("the WAV header's 'fmt ' chunk is cut off")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE:
        tag = _extensible_tag(fmt)
    coding = _CODINGS.get((tag, bits))
    if coding is None:
        raise _bad(
            f"WAV coding {tag:#06x} with {bits} bits is not served; "
            "send 8, 16, 24 or 32-bit integers or 32 or 64-bit floats"
        )
    layout = PcmLayout(rate, channels, coding)
    check_layout(layout)
    return layout


def _extensible_tag(fmt: bytes) -> int:
    if len(fmt) < 40 or fmt[26:40] != _GUID_TAIL:
        raise _bad("the WAV header's extensible format is cut off or not a sample format")
    return int.from_bytes(fmt[24:26], "little")


def _bad(message: str) -> LipSyncError:
    return invalid_field("audioChunk.data", message)
