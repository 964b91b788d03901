"""The verdicts of `python -m export verify`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export.reference import Reference, ReferenceDataError
from export.verify import _report, main

RECORDS = {
    "a": np.array([1.0, 2.0], np.float32),
    "b": np.zeros((2, 2), np.float32),
    "picture": np.full((2, 2, 3), 7, np.uint8),
}
OUTPUTS = {"a": {"noise_abs": 1e-4}, "b": {"index": ["::2", "::2"]}, "picture": {}}


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    (tmp_path / "manifest.json").write_text(
        json.dumps({"networks": {}, "inputs": {}, "outputs": OUTPUTS})
    )
    np.savez(tmp_path / "outputs_seed5.npz", **RECORDS, **{"b.mean": np.float64(0.0)})
    return Reference(tmp_path, seed=5)


def verdict(
    reference: Reference,
    changes: Mapping[str, NDArray[np.float32]],
    unmeasured: Mapping[str, float],
) -> int:
    outputs = {
        "a": RECORDS["a"],
        "b": np.zeros((4, 4), np.float32),
        "picture": RECORDS["picture"],
        **changes,
    }
    return _report(reference, ((key, value) for key, value in outputs.items()), unmeasured)


def test_equal_outputs_pass(reference: Reference) -> None:
    assert verdict(reference, {}, {}) == 0


def test_the_manifest_s_noise_allows_twenty_times_as_much(
    reference: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verdict(reference, {"a": RECORDS["a"] + np.float32(1.9e-3)}, {}) == 0
    assert verdict(reference, {"a": RECORDS["a"] + np.float32(2.1e-3)}, {"a": 1.0}) == 1
    assert "FAILED" in capsys.readouterr().out


def test_what_lies_between_the_samples_is_seen_by_the_mean(reference: Reference) -> None:
    between = np.zeros((4, 4), np.float32)
    between[1, 1] = 0.5
    assert verdict(reference, {"b": between}, {}) == 1


def test_a_tolerance_of_our_own_counts_where_the_manifest_states_none_and_is_marked(
    reference: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    near = np.full((4, 4), 1e-3, np.float32)
    assert verdict(reference, {"b": near}, {}) == 1
    assert verdict(reference, {"b": near}, {"b": 2e-3}) == 0
    assert "the default tolerance applies" in capsys.readouterr().out


def test_an_output_that_was_not_compared_fails(
    reference: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _report(reference, iter([("a", RECORDS["a"])]), {}) == 1
    assert capsys.readouterr().out.count("NOT COMPARED") == 2


def test_an_output_of_another_shape_is_an_error(reference: Reference) -> None:
    with pytest.raises(ReferenceDataError, match="shape"):
        verdict(reference, {"a": np.zeros(3, np.float32)}, {})


def test_a_folder_without_records_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")
    assert main(["tpsm-neural", "--reference", str(tmp_path), "--seed", "3"]) == 1
    assert "holds no reference for seed 3" in capsys.readouterr().out
