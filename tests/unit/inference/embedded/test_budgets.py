"""Limits grow with a network's file and with what it takes to answer; small ones keep those they
had.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_models import ROWS, add_rows

from orchestrator.inference.embedded import budgets
from orchestrator.inference.embedded.budgets import (
    answer_s,
    free_bytes,
    is_small,
    load_s,
    measurement_s,
    needed_bytes,
    start_allowance_s,
)
from orchestrator.inference.model_contract import ModelContract, read_model


@pytest.fixture
def network(tmp_path: Path) -> ModelContract:
    add_rows(tmp_path)
    return read_model(tmp_path / ROWS / "config.pbtxt")


def grow(network: ModelContract, nbytes: int) -> None:
    """Without its content: a file with a hole."""
    os.truncate(network.file, nbytes)


def test_a_small_network_is_given_seconds(network: ModelContract) -> None:
    assert is_small(network)
    assert (answer_s(0.0), start_allowance_s(network)) == (2.0, 0.0)
    assert load_s(network, 0.0) == pytest.approx(15.0, abs=0.1)


def test_a_large_one_is_given_minutes(network: ModelContract) -> None:
    grow(network, 400 << 20)
    assert not is_small(network)
    assert answer_s(7.0) == 72.0
    assert 120.0 < load_s(network, 8.0) < 180.0
    assert start_allowance_s(network) == measurement_s(network) > 300.0


def test_memory_is_wanted_for_every_instance(network: ModelContract) -> None:
    grow(network, 100 << 20)
    assert needed_bytes(network) == (3 * 100 << 20) + (512 << 20)


def test_this_machine_has_some_memory_free() -> None:
    assert 0 < free_bytes() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_container_has_no_more_than_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 300000\n")
    assert free_bytes() == 400_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes() > 1_000_000
