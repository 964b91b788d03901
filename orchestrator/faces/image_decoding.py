"""Decoding of untrusted pictures.

The size is read from the header and limited before a single pixel is decoded.
"""

from __future__ import annotations

import struct
from typing import Final

import cv2
import numpy as np
import simplejpeg

from orchestrator.core.types import Resolution, RgbImage

MAX_PIXELS: Final = 25_000_000
"""Largest picture decoded: photos of common phones fit, and take 75 MB as RGB."""

_JPEG: Final = b"\xff\xd8\xff"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_ORIENTATION_TAG: Final = 0x0112


class PictureError(ValueError):
    """Unusable picture: the message says why, `kind` is `format`, `size` or `damaged`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def decode_picture(data: bytes, *, upright: bool = True) -> RgbImage:
    """Decode a JPEG, PNG or WebP to RGB `[h, w, 3]`, with transparency over white.

    With `upright` the picture is turned by its EXIF orientation. Raises `PictureError` for other
    formats, for more than `MAX_PIXELS` pixels (before decoding) and for damaged files.
    """
    size = picture_size(data)
    if size.width * size.height > MAX_PIXELS:
        limit = f"at most {MAX_PIXELS // 1_000_000} megapixels are accepted"
        raise PictureError(
            "size",
            f"{size.width}x{size.height} is {size.width * size.height / 1e6:.1f} megapixels, "
            f"{limit}",
        )
    if not data.startswith(_JPEG):
        return _decode_with_opencv(data)
    image = _decode_jpeg(data)
    return _turn(image, jpeg_orientation(data)) if upright else image


def encode_jpeg(image: RgbImage, quality: int = 95) -> bytes:
    """Encode as JPEG without chroma subsampling, which would blur the small red lips."""
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="RGB", colorsubsampling="444"
    )
    return data


def picture_size(data: bytes) -> Resolution:
    """Width and height from the header of a JPEG, PNG or WebP, as stored (not turned)."""
    try:
        if data.startswith(_JPEG):
            height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
            return Resolution(int(width), int(height))
        if data.startswith(_PNG):
            return Resolution(*struct.unpack(">II", data[16:24]))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
    # KeyError: simplejpeg found a colour space it has no name for
    except (ValueError, KeyError, struct.error) as error:
        raise PictureError("damaged", "the header of the picture is damaged or cut off") from error
    raise PictureError("format", "not a JPEG, PNG or WebP picture")


def _webp_size(data: bytes) -> Resolution:
    """Size of a lossy, lossless or extended WebP (RFC 9649, sections 2.5 to 2.7)."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return Resolution(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return Resolution((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and len(data) >= 30:
        return Resolution(
            int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        )
    raise ValueError(f"unknown WebP chunk {kind!r}")


def _decode_jpeg(data: bytes) -> RgbImage:
    if simplejpeg.decode_jpeg_header(data, strict=False)[2] in ("CMYK", "YCCK"):
        return _decode_with_opencv(data)
    try:
        image: RgbImage = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError as error:
        # Some cameras leave stray bytes between markers, which are harmless.
        if "extraneous bytes" not in str(error):
            raise PictureError("damaged", f"the JPEG is damaged or cut off ({error})") from error
        image = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=False)
    return image


def _decode_with_opencv(data: bytes) -> RgbImage:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PictureError("damaged", "the picture is damaged or cut off") from error
    if image is None:
        raise PictureError("damaged", "the picture is damaged or cut off")
    levels = (
        image.astype(np.uint8, copy=False)
        if image.dtype == np.uint8
        else (image.astype(np.uint16) >> 8).astype(np.uint8)
    )
    if levels.ndim == 2:
        return np.repeat(levels[..., None], 3, axis=2)
    if levels.shape[2] == 4:
        levels = _over_white(levels)
    return np.ascontiguousarray(levels[..., ::-1])


def _over_white(image: RgbImage) -> RgbImage:
    alpha = image[..., 3:].astype(np.float32) / 255.0
    blended: RgbImage = np.rint(image[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    return blended


def jpeg_orientation(data: bytes) -> int:
    """EXIF orientation 1..8; 1 where there is none or the EXIF block is broken."""
    try:
        exif = _exif_block(data)
        order = "<" if exif[:2] == b"II" else ">"
        (first,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, first)
        for index in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", exif, first + 2 + 12 * index)
            if tag == _ORIENTATION_TAG:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _exif_block(data: bytes) -> bytes:
    """TIFF structure in the APP1 segment; empty where none precedes the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, position + 2)
        if data[position + 1] == 0xE1 and data[position + 4 : position + 10] == b"Exif\0\0":
            return data[position + 10 : position + 2 + length]
        position += 2 + length
    return b""


def _turn(image: RgbImage, orientation: int) -> RgbImage:
    """Undo an EXIF orientation: mirror 2, 4, 5 and 7, then a quarter or half turn."""
    if orientation in (2, 4, 5, 7):
        image = image[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(image, quarter_turns))
