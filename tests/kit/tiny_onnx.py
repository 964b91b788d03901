"""Writes small ONNX networks byte by byte, so that tests need no exporter: a stand-in with a model's real contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLOAT = 1  # TensorProto.DataType
OPSET = 13


def write_projection(
    path: Path, *, rows: int, columns: int, steps: int, parameters: int, seed: int = 7, properties: Mapping[str, str] | None = None
) -> None:
    """`motion [N, steps, parameters] = sigmoid(A @ mel [N, rows, columns] @ B)` with seeded A and B."""
    rng = np.random.default_rng(seed)
    a = rng.normal(0, 0.1, (steps, rows)).astype(np.float32)
    b = rng.normal(0, 0.1, (columns, parameters)).astype(np.float32)
    graph = b"".join(
        [
            _message(1, _node("MatMul", ["mel", "B"], ["projected"])),
            _message(1, _node("MatMul", ["A", "projected"], ["mixed"])),
            _message(1, _node("Sigmoid", ["mixed"], ["motion"])),
            _text(2, "projection"),
            _message(5, _tensor("A", a)),
            _message(5, _tensor("B", b)),
            _message(11, _value("mel", ["N", rows, columns])),
            _message(12, _value("motion", ["N", steps, parameters])),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    said = b"".join(_message(14, _text(1, key) + _text(2, value)) for key, value in (properties or {}).items())
    path.write_bytes(_number(1, 8) + _message(7, graph) + _message(8, _number(2, OPSET)) + said)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    return b"".join([*(_text(1, name) for name in inputs), *(_text(2, name) for name in outputs), _text(4, kind)])


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    dims = b"".join(_number(1, size) for size in values.shape)
    return dims + _number(2, FLOAT) + _text(8, name) + _message(9, values.tobytes())


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_message(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape)
    return _text(1, name) + _message(2, _message(1, _number(1, FLOAT) + _message(2, dims)))
