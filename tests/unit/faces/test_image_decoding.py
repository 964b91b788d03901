"""Pictures from strangers are measured before they are decoded, and damaged ones are never shown
half.
"""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import cv2
import face_packages as made
import numpy as np
import pytest

from orchestrator.core.types import Resolution, RgbImage
from orchestrator.faces.image_decoding import (
    MAX_PIXELS,
    PictureError,
    decode_picture,
    encode_jpeg,
    jpeg_orientation,
    picture_size,
)


def picture() -> RgbImage:
    rng = np.random.default_rng(1)
    small = rng.integers(0, 255, (6, 9, 3), np.uint8)
    return np.asarray(cv2.resize(small, (90, 60), interpolation=cv2.INTER_CUBIC), np.uint8)


def encode(image: RgbImage, suffix: str, *options: int) -> bytes:
    ok, data = cv2.imencode(suffix, image[..., ::-1], options)
    assert ok
    return data.tobytes()


def exif(orientation: int, order: str = "<") -> bytes:
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(
        order + "IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0
    )
    return b"\xff\xe1" + struct.pack(">H", 2 + 6 + len(tiff)) + b"Exif\0\0" + tiff


def png_bomb(width: int, height: int) -> bytes:
    """A valid header of a huge picture, with hardly any data behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(9_000_000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", ()),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101)),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 90)),
        (".jpg", ()),
    ],
)
def test_each_format_gives_its_size_from_the_header_and_its_picture(
    suffix: str, options: tuple[int, ...]
) -> None:
    data = encode(picture(), suffix, *options)
    assert picture_size(data[: len(data) - 20]) == Resolution(90, 60)
    assert np.abs(decode_picture(data).astype(int) - picture()).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_orientation_is_undone_as_opencv_does_it(orientation: int, order: str) -> None:
    plain = encode_jpeg(picture())
    data = plain[:2] + exif(orientation, order) + plain[2:]
    reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.array_equal(decode_picture(data), reference)
    assert np.array_equal(decode_picture(data, upright=False), decode_picture(plain))


@pytest.mark.parametrize(
    "broken", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_broken_exif_block_means_upright(broken: bytes) -> None:
    plain = encode_jpeg(picture())
    block = b"\xff\xe1" + struct.pack(">H", 8 + len(broken)) + b"Exif\0\0" + broken
    assert jpeg_orientation(plain[:2] + block + plain[2:]) == 1


def test_a_thirty_megapixel_bomb_is_refused_before_it_takes_memory() -> None:
    tracemalloc.start()
    for data in (
        png_bomb(6000, 5000),
        made.jpeg(64, 64).replace(
            b"\x00\x40\x00\x40\x03", struct.pack(">HH", 5000, 6000) + b"\x03"
        ),
    ):
        with pytest.raises(PictureError, match="megapixels") as caught:
            decode_picture(data)
        assert caught.value.kind == "size"
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 20_000_000 < MAX_PIXELS


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_picture_cut_off_anywhere_is_refused(suffix: str) -> None:
    whole = encode(picture(), suffix)
    for length in (len(whole) // 2, len(whole) // 4, 40, 20, 12, 3):
        with pytest.raises(PictureError):
            decode_picture(whole[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, I am a text file",
        b"GIF89a" + bytes(40),
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBPVP9 " + bytes(30),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError):
        decode_picture(data)


def test_random_bytes_behind_every_signature_raise_nothing_else() -> None:
    rng = np.random.default_rng(3)
    for signature in (
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x20\0\0\0WEBPVP8X",
        b"RIFF\x20\0\0\0WEBPVP8 ",
    ):
        for _ in range(50):
            with pytest.raises(PictureError):
                decode_picture(signature + rng.integers(0, 256, 200, np.uint8).tobytes())


def test_transparency_lies_over_white_and_grey_and_deep_pictures_become_rgb() -> None:
    clear = np.zeros((8, 8, 4), np.uint8)
    assert decode_picture(cv2.imencode(".png", clear)[1].tobytes()).min() == 255
    assert decode_picture(cv2.imencode(".png", np.full((8, 8), 77, np.uint8))[1].tobytes())[
        0, 0
    ].tolist() == [77, 77, 77]
    assert decode_picture(cv2.imencode(".png", np.full((8, 8, 3), 40_000, np.uint16))[1].tobytes())[
        0, 0
    ].tolist() == [156, 156, 156]
    assert decode_picture(made.jpeg(16, 16)).shape == (16, 16, 3)
