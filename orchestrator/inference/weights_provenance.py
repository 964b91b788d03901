"""Origin of a network's weights, read from the file itself, so that random ones are marked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final

from orchestrator.inference.model_contract import ModelContract, Repository

PARITY_REPORT: Final = "parity.json"
"""Report that the exporter writes beside the versions.

It is the only record of the weights where the file is not ONNX.
"""

SEEDED: Final = re.compile(r"seeded \d+ \(random weights, for tests only\)")
"""Exporter's label for untrained weights."""

METADATA_FIELD: Final = 14
"""`ModelProto.metadata_props`; a repeated `StringStringEntryProto` of key (1) and value (2)."""

LENGTH_DELIMITED: Final = 2
FIXED_BYTES: Final = {1: 8, 5: 4}


@dataclass(frozen=True, slots=True)
class Weights:
    """The exporter's record of one network; empty where there is none."""

    network: str
    label: str = ""
    """Label for people: a checkpoint's file name and start of its SHA-256, or "random"."""
    origin: str = ""
    licence: str = ""
    sha256: tuple[str, ...] = ()
    """SHA-256 of the source checkpoints."""

    @property
    def warning(self) -> str:
        """Warning to show beside the model's name; empty for trained weights."""
        found = SEEDED.search(self.label)
        return found[0] if found else ""


def read_weights(contract: ModelContract) -> Weights | None:
    """The record of the version that is served; None where the file is absent.

    Read once per file, and again when it changes.
    """
    try:
        stat = contract.file.stat()
    except OSError:
        return None
    return _read(
        contract.name,
        contract.file,
        contract.folder / PARITY_REPORT,
        stat.st_mtime_ns,
        stat.st_size,
    )


class WeightsRegister:
    """The records of a repository's networks by name."""

    def __init__(self, repository: Repository) -> None:
        self._models = repository.models

    def of(self, networks: Iterable[str]) -> tuple[Weights, ...]:
        """Records of those networks whose files are present."""
        records = (read_weights(self._models[name]) for name in networks if name in self._models)
        return tuple(record for record in records if record is not None)


def warning_of(weights: Iterable[Weights]) -> str:
    """The warnings of a model's networks, each once."""
    return ", ".join(dict.fromkeys(each.warning for each in weights if each.warning))


@lru_cache(maxsize=256)
def _read(network: str, file: Path, report: Path, _changed_ns: int, _size: int) -> Weights:
    try:
        if file.suffix == ".onnx":
            with file.open("rb") as stream:
                said: Mapping[str, str] = dict(_properties(stream))
        else:
            said = _reported(report)
    except (OSError, ValueError):
        return Weights(network)
    sums = tuple(said.get("weights_sha256", "").split())
    return Weights(
        network, said.get("weights", ""), said.get("origin", ""), said.get("licence", ""), sums
    )


def _reported(report: Path) -> Mapping[str, str]:
    """The parity report in the form of an ONNX file's properties."""
    content = json.loads(report.read_text())
    parts = [part for part in content.get("weights", []) if isinstance(part, dict)]
    files = [
        f"{part['file']} (SHA-256 {part['sha256'][:16]})"
        for part in parts
        if "sha256" in part and "file" in part
    ]
    seeded = content.get("seeded")
    return {
        "weights": ", ".join(dict.fromkeys(files))
        if seeded is None
        else f"seeded {seeded} (random weights, for tests only)",
        "origin": "; ".join(dict.fromkeys(part.get("origin", "") for part in parts)),
        "licence": "; ".join(dict.fromkeys(part.get("licence", "") for part in parts)),
        "weights_sha256": " ".join(
            dict.fromkeys(part["sha256"] for part in parts if "sha256" in part)
        ),
    }


def _properties(stream: BinaryIO) -> Iterator[tuple[str, str]]:
    """The `metadata_props` of an ONNX file.

    The graph, hundreds of megabytes, is skipped. Raises ValueError for other files.
    """
    end = os.fstat(stream.fileno()).st_size
    for field, length in _fields(stream, end):
        if field == METADATA_FIELD:
            entry = stream.tell() + length
            texts = {key: stream.read(size).decode() for key, size in _fields(stream, entry)}
            yield texts.get(1, ""), texts.get(2, "")


def _fields(stream: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Number and length of each length-delimited field up to `end`.

    The stream then stands at the field's content; the caller may read it or not.
    """
    while stream.tell() < end:
        key = _varint(stream)
        field, kind = key >> 3, key & 7
        if kind == LENGTH_DELIMITED:
            length = _varint(stream)
            after = stream.tell() + length
            yield field, length
            stream.seek(after)
        elif kind == 0:
            _varint(stream)
        elif kind in FIXED_BYTES:
            stream.seek(FIXED_BYTES[kind], os.SEEK_CUR)
        else:
            raise ValueError("not a protobuf message")


def _varint(stream: BinaryIO) -> int:
    value = shift = 0
    while byte := stream.read(1):
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
        if shift > 63:
            break
    raise ValueError("not a protobuf message")
