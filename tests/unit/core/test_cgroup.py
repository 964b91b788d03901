"""A container's limits are read of either version of control groups."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from orchestrator.core.cgroup import (
    cores_of_cgroup,
    cores_of_quota,
    free_bytes_of_cgroup,
    usable_cores,
)


def test_this_machine_has_cores() -> None:
    assert usable_cores() > 0.0


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", math.inf), ("200000 100000\n", 2.0), ("50000 100000\n", 0.5)],
)
def test_a_containers_quota_is_cores(text: str, cores: float) -> None:
    assert cores_of_quota(text) == cores


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({}, math.inf),
    ],
    ids=[
        "version 2",
        "version 2 without a limit",
        "version 1",
        "version 1 without a limit",
        "no control groups",
    ],
)
def test_the_quota_is_read_of_either_version_of_control_groups(
    files: dict[str, str], cores: float, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores_of_cgroup(tmp_path) == cores


def test_memory_left_below_the_limit_counts_cached_files_as_free(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 300000\n")
    assert free_bytes_of_cgroup(tmp_path) == 400_000


@pytest.mark.parametrize("limit", ["max\n", None])
def test_without_a_limit_memory_has_no_bound(limit: str | None, tmp_path: Path) -> None:
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    assert free_bytes_of_cgroup(tmp_path) == math.inf
