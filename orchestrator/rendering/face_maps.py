"""Face maps: all data to draw one face at one size, and their strict binary form.

The binary form is sent to the renderer once.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SIZES: Final = (128, 256, 512)
COARSE_NODES: Final = 128
"""Nodes of the displacement maps along the image's side.

The maps are smooth, so finer ones would look the same.
"""

EDGE_CODE: Final = 400.0
"""Steps of a coded distance per half mouth width; 128 is the lip's edge."""

SWAY_NODES: Final = 32
"""Nodes of the sway map along the image's side."""

MAGIC: Final = b"LSFM\x01"
MAX_BYTES: Final = 8 << 20

_HEADER: Final = struct.Struct("<5sH")
_DIMS: Final = struct.Struct("<4H")


@dataclass(frozen=True, eq=False)
class FaceMaps:
    """Maps of one face at one size; arrays are read-only.

    Lengths below are in pixels of the frame unless stated otherwise.
    """

    size: int
    image: NDArray[np.uint8]
    """`[k, k, 3]` RGB photo, k = 1.5 * size.

    Sampled down while it is warped, so that a moving frame is not softer than a still one.
    """
    mouth_frame: NDArray[np.float32]
    """`[7]` origin x, y; axis x, y; half mouth width; two shares.

    The shares are that of the width lost at full rounding, and the neutral half width over this
    one.
    """
    mouth_box: NDArray[np.int32]
    """`[4]` x, y, width, height of the part of the frame that the mouth moves."""
    common: NDArray[np.float32]
    """`[2, h, w, 2]` coarse displacements of COMMON_FIELDS inside the box."""
    layers: NDArray[np.float32]
    """`[6, h, w, 4]` coarse displacements of LAYER_FIELDS, upper layer then lower."""
    edges: NDArray[np.uint8]
    """`[h, w, 2]` signed distances to the upper and lower lip's edge.

    For image pixels around the box.
    """
    tuck_profile: NDArray[np.float32]
    """`[h, w]` on the coarse grid: how far the lower lip rolls in.

    0 at the corners to 1 in the middle.
    """
    cavity_box: NDArray[np.int32]
    """`[4]` x, y, width, height of the part that can show the inside of the mouth."""
    cavity: NDArray[np.uint8]
    """`[h, w, 3]` the throat."""
    upper_teeth: NDArray[np.uint8]
    """`[h, w, 4]` RGB and cover; they do not move with the jaw."""
    lower_jaw: NDArray[np.uint8]
    """`[h, w, 4]` tongue and lower teeth; they move with the jaw."""
    lid_boxes: NDArray[np.int32]
    """`[2, 4]` x, y, width, height of the eyes in pixels of `image`."""
    right_lid: NDArray[np.uint8]
    """`[h, w, 7]` as in `lids.py`; right is the person's right, at the picture's left."""
    left_lid: NDArray[np.uint8]
    lash: NDArray[np.uint8]
    """`[3]` colour of the lashes."""
    sway: NDArray[np.float32]
    """`[2, 32, 32]` share of the head's shift and roll at each place."""
    pivot: NDArray[np.float32]
    """`[2]` the point the head rolls about."""

    def __post_init__(self) -> None:
        for name, _, _ in ARRAYS:
            getattr(self, name).setflags(write=False)

    def to_bytes(self) -> bytes:
        """Header, then for each array its dimensions and its little-endian bytes."""
        parts = [_HEADER.pack(MAGIC, self.size)]
        for name, dtype, ndim in ARRAYS:
            array = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            parts.append(_DIMS.pack(*array.shape, *[0] * (4 - ndim)))
            parts.append(array.tobytes())
        return b"".join(parts)

    @staticmethod
    def from_bytes(blob: bytes) -> FaceMaps:
        """Parse `to_bytes`; ValueError with the reason for anything else.

        Never allocates more than the blob holds.
        """
        if not _HEADER.size < len(blob) <= MAX_BYTES:
            raise ValueError(f"face maps: {len(blob)} bytes, expected up to {MAX_BYTES}")
        magic, size = _HEADER.unpack_from(blob)
        if magic != MAGIC or size not in SIZES:
            raise ValueError("face maps: not made by this version")
        arrays: dict[str, Any] = {}
        offset = _HEADER.size
        for name, dtype, ndim in ARRAYS:
            arrays[name], offset = _read(blob, offset, name, dtype, ndim)
        if offset != len(blob):
            raise ValueError(f"face maps: {len(blob) - offset} bytes left over")
        maps = FaceMaps(size=size, **arrays)
        _check(maps)
        return maps

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of `to_bytes`: the name of this face at this size."""
        return hashlib.sha256(self.to_bytes()).digest()


ARRAYS: Final[tuple[tuple[str, str, int], ...]] = (
    ("image", "u1", 3),
    ("mouth_frame", "<f4", 1),
    ("mouth_box", "<i4", 1),
    ("common", "<f4", 4),
    ("layers", "<f4", 4),
    ("edges", "u1", 3),
    ("tuck_profile", "<f4", 2),
    ("cavity_box", "<i4", 1),
    ("cavity", "u1", 3),
    ("upper_teeth", "u1", 3),
    ("lower_jaw", "u1", 3),
    ("lid_boxes", "<i4", 2),
    ("right_lid", "u1", 3),
    ("left_lid", "u1", 3),
    ("lash", "u1", 1),
    ("sway", "<f4", 3),
    ("pivot", "<f4", 1),
)
"""Name, type and number of dimensions of each array, in the order of the blob."""


def edge_box(size: int, mouth_box: Sequence[int]) -> tuple[int, int, int, int]:
    """x, y, width, height in image pixels of what the mouth box can show.

    The box and a margin for the sway.
    """
    side = size * 3 // 2
    x, y, width, height = mouth_box
    margin = round(0.05 * size)
    left, top = max(0, (x - margin) * 3 // 2), max(0, (y - margin) * 3 // 2)
    right, bottom = (
        min(side, (x + width + margin) * 3 // 2),
        min(side, (y + height + margin) * 3 // 2),
    )
    return left, top, right - left, bottom - top


def _read(blob: bytes, offset: int, name: str, dtype: str, ndim: int) -> tuple[NDArray[Any], int]:
    if offset + _DIMS.size > len(blob):
        raise ValueError(f"face maps: cut off before {name}")
    dims = _DIMS.unpack_from(blob, offset)
    shape, rest = dims[:ndim], dims[ndim:]
    if any(rest) or not all(shape):
        raise ValueError(f"face maps: {name} has dimensions {dims}")
    count = int(np.prod(shape, dtype=np.int64))
    start, end = offset + _DIMS.size, offset + _DIMS.size + count * np.dtype(dtype).itemsize
    if end > len(blob):
        raise ValueError(f"face maps: cut off inside {name}")
    return np.frombuffer(blob, dtype=dtype, count=count, offset=start).reshape(shape), end


def _check(maps: FaceMaps) -> None:
    """Check that every shape follows from the size and the boxes.

    A blob with other shapes must not reach the drawing code.
    """
    size, side = maps.size, maps.size * 3 // 2
    _expect("image", maps.image, (side, side, 3))
    for name, count in (
        ("mouth_frame", 7),
        ("mouth_box", 4),
        ("cavity_box", 4),
        ("lash", 3),
        ("pivot", 2),
    ):
        _expect(name, getattr(maps, name), (count,))
    _expect("lid_boxes", maps.lid_boxes, (2, 4))
    for box, limit, name in (
        (maps.mouth_box, size, "mouth_box"),
        (maps.cavity_box, size, "cavity_box"),
        (maps.lid_boxes[0], side, "lid_boxes"),
        (maps.lid_boxes[-1], side, "lid_boxes"),
    ):
        _expect_inside(name, box, limit)
    if not _within(maps.cavity_box.tolist(), maps.mouth_box.tolist()):
        raise ValueError("face maps: cavity_box lies outside mouth_box")
    step = max(size // COARSE_NODES, 1)
    _, _, width, height = (int(v) for v in maps.mouth_box)
    _expect("tuck_profile", maps.tuck_profile, (height // step, width // step))
    if width % step or height % step:
        raise ValueError("face maps: mouth_box does not fit the coarse grid")
    _expect("common", maps.common, (2, height // step, width // step, 2))
    _expect("layers", maps.layers, (6, height // step, width // step, 4))
    _, _, edge_width, edge_height = edge_box(size, maps.mouth_box.tolist())
    _expect("edges", maps.edges, (edge_height, edge_width, 2))
    _, _, width, height = (int(v) for v in maps.cavity_box)
    _expect("cavity", maps.cavity, (height, width, 3))
    _expect("upper_teeth", maps.upper_teeth, (height, width, 4))
    _expect("lower_jaw", maps.lower_jaw, (height, width, 4))
    for name, (_, _, width, height) in zip(
        ("right_lid", "left_lid"), maps.lid_boxes.tolist(), strict=True
    ):
        _expect(name, getattr(maps, name), (height, width, 7))
    _expect("sway", maps.sway, (2, SWAY_NODES, SWAY_NODES))
    for field in fields(maps):
        value = getattr(maps, field.name)
        if (
            isinstance(value, np.ndarray)
            and value.dtype.kind == "f"
            and not (np.isfinite(value) & (np.abs(value) < 1e4)).all()
        ):
            raise ValueError(f"face maps: {field.name} has values out of range")


def _expect(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"face maps: {name} has shape {array.shape}, expected {shape}")


def _within(inner: Sequence[int], outer: Sequence[int]) -> bool:
    return all(
        o <= i and i + i_size <= o + o_size
        for i, o, i_size, o_size in zip(inner[:2], outer[:2], inner[2:], outer[2:], strict=True)
    )


def _expect_inside(name: str, box: NDArray[np.int32], limit: int) -> None:
    x, y, width, height = (int(v) for v in box)
    if min(x, y) < 0 or min(width, height) < 4 or x + width > limit or y + height > limit:
        raise ValueError(f"face maps: {name} lies outside the picture")
