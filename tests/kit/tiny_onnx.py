"""Writes small ONNX networks byte by byte, so that tests need no exporter: a stand-in with a
model's real contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLOAT = 1  # TensorProto.DataType
OPSET = 13


def write_projection(
    path: Path,
    *,
    rows: int,
    columns: int,
    steps: int,
    parameters: int,
    seed: int = 7,
    properties: Mapping[str, str] | None = None,
) -> None:
    """`motion [N, steps, parameters] = sigmoid(A @ mel [N, rows, columns] @ B)` with seeded A and
    B.
    """
    rng = np.random.default_rng(seed)
    weights = {
        "A": rng.normal(0, 0.1, (steps, rows)).astype(np.float32),
        "B": rng.normal(0, 0.1, (columns, parameters)).astype(np.float32),
    }
    nodes = [
        _node("MatMul", ["mel", "B"], ["projected"]),
        _node("MatMul", ["A", "projected"], ["mixed"]),
        _node("Sigmoid", ["mixed"], ["motion"]),
    ]
    _write(
        path,
        nodes,
        weights,
        _value("mel", ["N", rows, columns]),
        _value("motion", ["N", steps, parameters]),
        properties,
    )


def write_rows(path: Path) -> None:
    """`doubled [N, R, 3] = rows [N, R, 3] + rows`: an axis of any length, as renderers have for the
    frames of a chunk.
    """
    _write(
        path,
        [_node("Add", ["rows", "rows"], ["doubled"])],
        {},
        _value("rows", ["N", "R", 3]),
        _value("doubled", ["N", "R", 3]),
    )


def write_labour(path: Path, *, products: int, side: int = 1600, height: int = 64) -> None:
    """`light [N, 1, 1]` is the `mouth [N, 1, 1]` that was given, after so many products of `height`
    x `side` with `side` x `side`.

    Each takes some 10 ms on one thread. The file is larger than what the supervisor opens in its
    own process.
    """
    spread, gather = np.zeros((height, 1), np.float32), np.zeros((side, 1), np.float32)
    spread[0], gather[0] = 1.0, 1.0
    weights = {
        "spread": spread,
        "row": gather.T.copy(),
        "same": np.eye(side, dtype=np.float32),
        "gather": gather,
        "top": spread.T.copy(),
    }
    nodes = [
        _node("MatMul", ["spread", "mouth"], ["column"]),
        _node("MatMul", ["column", "row"], ["x0"]),
    ]
    nodes += [_node("MatMul", [f"x{step}", "same"], [f"x{step + 1}"]) for step in range(products)]
    nodes += [
        _node("MatMul", [f"x{products}", "gather"], ["gathered"]),
        _node("MatMul", ["top", "gathered"], ["light"]),
    ]
    _write(path, nodes, weights, _value("mouth", ["N", 1, 1]), _value("light", ["N", 1, 1]))


def _write(
    path: Path,
    nodes: Sequence[bytes],
    weights: Mapping[str, NDArray[np.float32]],
    given: bytes,
    answered: bytes,
    properties: Mapping[str, str] | None = None,
) -> None:
    parts = (
        [_message(1, node) for node in nodes]
        + [_text(2, "tiny")]
        + [_message(5, _tensor(*weight)) for weight in weights.items()]
    )
    graph = b"".join([*parts, _message(11, given), _message(12, answered)])
    said = b"".join(
        _message(14, _text(1, key) + _text(2, value)) for key, value in (properties or {}).items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
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
    return b"".join(
        [
            *(_text(1, name) for name in inputs),
            *(_text(2, name) for name in outputs),
            _text(4, kind),
        ]
    )


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    dims = b"".join(_number(1, size) for size in values.shape)
    return dims + _number(2, FLOAT) + _text(8, name) + _message(9, values.tobytes())


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(
        _message(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape
    )
    return _text(1, name) + _message(2, _message(1, _number(1, FLOAT) + _message(2, dims)))
