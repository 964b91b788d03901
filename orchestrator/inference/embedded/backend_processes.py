"""Backend processes of a server: one for each instance of a model that runs in Python.

Read from `/proc`, with the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STOPPED_STATE: Final = "T"
ENDED_STATES: Final = "XZ"
"""Letters of `state_of`."""

YIELDING_NICENESS: Final = 10
"""Niceness added to a backend process that has to yield the cores to the others.

It gets a tenth of their share under contention.
"""


@dataclass(frozen=True, slots=True)
class Stub:
    """A backend process: one instance of one model."""

    pid: int
    model: str


def stubs_below(pid: int) -> tuple[Stub, ...]:
    """The living backend processes of the server `pid`."""
    return tuple(stub for child in _children(pid) if (stub := _stub(child)) is not None)


def state_of(pid: int) -> str:
    """State letter of a process from the kernel; `X` if there is no such process.

    `R` running, `S` sleeping, `T` stopped, `Z` zombie.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"


def lower_priority(stubs: Iterable[Stub]) -> None:
    """Lower the priority of backend processes.

    Their models run on the thread that has the process's id.
    """
    niceness = os.getpriority(os.PRIO_PROCESS, 0) + YIELDING_NICENESS
    for stub in stubs:
        with contextlib.suppress(OSError):  # it has just ended
            os.setpriority(os.PRIO_PROCESS, stub.pid, niceness)


def cpu_ticks(stubs: Iterable[Stub]) -> int:
    """CPU time that backend processes have used, in kernel ticks.

    It distinguishes a process that works on a long request from a hung one.
    """
    ticks = 0
    for stub in stubs:
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{stub.pid}/stat").read_text().rpartition(")")[2].split()
            # utime and stime; fields are counted from the state on
            ticks += int(fields[11]) + int(fields[12])
    return ticks


def memory_mb(stubs: Iterable[Stub]) -> dict[str, float]:
    """Private memory of each model's backend processes in MiB, without what they share."""
    held: dict[str, float] = {}
    for stub in stubs:
        with contextlib.suppress(OSError, IndexError, ValueError):  # it has just ended
            pages = [int(each) for each in Path(f"/proc/{stub.pid}/statm").read_text().split()]
            held[stub.model] = (
                held.get(stub.model, 0.0)
                + (pages[1] - pages[2]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            )
    return held


def kill_stubs(stubs: Iterable[Stub]) -> None:
    """Kill the processes whose pid was not reused, and wait up to a second for their end."""
    living = [stub for stub in stubs if _stub(stub.pid) == stub]
    for stub in living:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stub.pid, signal.SIGKILL)
    end = time.monotonic() + 1.0
    while time.monotonic() < end and any(state_of(stub.pid) not in ENDED_STATES for stub in living):
        time.sleep(0.005)


def _children(pid: int) -> list[int]:
    """Children of all threads: the server starts each backend process from another thread."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def _stub(pid: int) -> Stub | None:
    """Parse a backend process's arguments: the last but one is `<model>_<group>_<instance>`."""
    with contextlib.suppress(OSError):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        if arguments[0].endswith(b"triton_python_backend_stub") and len(arguments) > 2:
            return Stub(pid, arguments[-2].decode().rsplit("_", 2)[0])
    return None
