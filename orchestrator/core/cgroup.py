"""Limits of a container: CPU quota and memory of this process's control group.

https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max, memory.max),
https://docs.kernel.org/scheduler/sched-bwc.html (cpu.cfs_*).
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")
"""This process's own control group, as a container sees it."""


def usable_cores() -> float:
    """Return the cores that this process may use, by its affinity and its container's quota."""
    return min(float(len(os.sched_getaffinity(0))), cores_of_cgroup(CGROUP))


def cores_of_cgroup(folder: Path) -> float:
    """Return the CPU quota in cores, by the files of version 2 or else 1; infinite without one."""
    with contextlib.suppress(OSError):
        return cores_of_quota((folder / "cpu.max").read_text())
    try:
        quota_us, period_us = (
            int((folder / "cpu" / f"cpu.cfs_{each}_us").read_text()) for each in ("quota", "period")
        )
    except OSError:
        return math.inf
    return quota_us / period_us if quota_us > 0 else math.inf  # -1 is no limit


def cores_of_quota(text: str) -> float:
    """Parse `cpu.max`: `200000 100000` are two cores, `max 100000` is no limit."""
    quota, period = text.split()
    return math.inf if quota == "max" else int(quota) / int(period)


def free_bytes_of_cgroup(folder: Path) -> float:
    """Return the memory left below the limit (version 2), in bytes; infinite without a limit.

    Cached files count as used there, but make room: they are added.
    """
    try:
        limit, used = (
            int((folder / name).read_text()) for name in ("memory.max", "memory.current")
        )
        lines = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # "max" is no number: no limit
        return math.inf
    cached = (int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return limit - used + next(cached, 0)
