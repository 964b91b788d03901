"""Whose weights a network has is read from its own file, and random ones are never taken for
trained ones.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tiny_onnx import write_projection

from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.weights_provenance import (
    Weights,
    WeightsRegister,
    read_weights,
    warning_of,
)

SEEDED = "seeded 1 (random weights, for tests only)"


def repository(tmp_path: Path, backend: str = "onnxruntime") -> Path:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "config.pbtxt").write_text(f'name: "net" backend: "{backend}" max_batch_size: 4')
    return folder


def served(tmp_path: Path) -> Weights | None:
    return read_weights(read_repository(tmp_path).models["net"])


def test_the_properties_of_an_onnx_file_are_read_past_its_graph(tmp_path: Path) -> None:
    file = repository(tmp_path) / "1" / "model.onnx"
    said = {
        "weights": "gan.pth (SHA-256 ca9ab7b7)",
        "origin": "its authors",
        "licence": "research",
        "weights_sha256": "ca9a 01",
    }
    write_projection(file, rows=4, columns=3, steps=2, parameters=1, properties=said)
    assert served(tmp_path) == Weights(
        "net", "gan.pth (SHA-256 ca9ab7b7)", "its authors", "research", ("ca9a", "01")
    )
    assert warning_of([served(tmp_path) or Weights("")]) == ""


def test_seeded_weights_carry_a_warning_that_a_model_of_several_networks_says_once(
    tmp_path: Path,
) -> None:
    file = repository(tmp_path) / "1" / "model.onnx"
    write_projection(
        file, rows=4, columns=3, steps=2, parameters=1, properties={"weights": f"gan.pth, {SEEDED}"}
    )
    register = WeightsRegister(read_repository(tmp_path))
    assert warning_of(register.of(("net", "net", "nobody's"))) == SEEDED


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    file = repository(tmp_path) / "1" / "model.onnx"
    for second, label in enumerate((SEEDED, "gan.pth (SHA-256 ca9ab7b7)")):
        write_projection(
            file, rows=4, columns=3, steps=2, parameters=1, properties={"weights": label}
        )
        os.utime(file, (second, second))
        assert served(tmp_path) == Weights("net", label)


@pytest.mark.parametrize(
    "content", [b"", b"not a network", b"\xff" * 20], ids=["empty", "text", "bytes"]
)
def test_a_file_that_is_no_network_says_nothing(tmp_path: Path, content: bytes) -> None:
    file = repository(tmp_path) / "1" / "model.onnx"
    file.parent.mkdir()
    file.write_bytes(content)
    assert served(tmp_path) == Weights("net")


def test_what_is_not_there_has_no_record(tmp_path: Path) -> None:
    repository(tmp_path)
    assert served(tmp_path) is None


@pytest.mark.parametrize(
    ("seeded", "label"), [(1, SEEDED), (None, "gan.pth (SHA-256 0123456789abcdef)")]
)
def test_an_engine_is_described_by_the_report_beside_it(
    tmp_path: Path, seeded: int | None, label: str
) -> None:
    folder = repository(tmp_path, "tensorrt")
    (folder / "1").mkdir()
    (folder / "1" / "model.plan").write_bytes(b"engine")
    part = {"origin": "its authors", "licence": "research"} | (
        {} if seeded else {"file": "gan.pth", "sha256": "0123456789abcdef" * 4}
    )
    (folder / "parity.json").write_text(json.dumps({"seeded": seeded, "weights": [part]}))
    found = served(tmp_path)
    assert found is not None
    assert (found.label, found.origin) == (label, "its authors")
