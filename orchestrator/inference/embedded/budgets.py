"""Time and memory budgets of a model, from the size of its file and one measured run."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from orchestrator.core.cgroup import CGROUP, free_bytes_of_cgroup
from orchestrator.inference.model_contract import ModelContract

HEAVY_CPU_S: Final = 0.1
"""CPU time of one item above which a model barely keeps up with speech on this machine.

Its backend process then yields the cores to the others.
"""

CPU_TIME_FACTOR: Final = 10.0
"""Factor on the measured CPU time.

Other processes compete for the cores, and several instances load or answer at once.
"""

ANSWER_S: Final = 2.0
"""Base time for an answer: a first inference on a busy laptop was measured to take a second."""

LOAD_S: Final = 15.0
READ_BYTES_PER_S: Final = 8 << 20
"""Read rate of a slow disk, to estimate how long a network's file takes to read."""

MEASUREMENT_S: Final = 60.0
"""Time limit of the self test process that measures the costs, in addition to reading the file."""

MAX_SMALL_BYTES: Final = 8 << 20
"""File size up to which a network counts as small."""

MEMORY_PER_FILE_SIZE: Final = 3
"""Memory of one instance, relative to its file.

Twice the file while it is opened, 1.3 times afterwards, and the tensors of a run.
"""

RESERVED_BYTES: Final = 512 << 20
"""Memory that stays free for the sessions."""


def answer_s(answer_cpu_s: float) -> float:
    """Time limit in seconds for a self test; `answer_cpu_s` is the CPU time of one answer."""
    return ANSWER_S + CPU_TIME_FACTOR * answer_cpu_s


def load_s(contract: ModelContract, cost_s: float) -> float:
    """Time limit in seconds for loading.

    `cost_s` is the CPU time of opening the model and one answer, since loading warms it up.
    """
    return LOAD_S + reading_s(contract) + CPU_TIME_FACTOR * cost_s


def measurement_s(contract: ModelContract) -> float:
    """Time limit in seconds for measuring the expected answer."""
    return MEASUREMENT_S + CPU_TIME_FACTOR * reading_s(contract)


def needed_bytes(contract: ModelContract) -> int:
    """Approximate free memory in bytes that loading the model takes."""
    return contract.file.stat().st_size * MEMORY_PER_FILE_SIZE * contract.instances + RESERVED_BYTES


def free_bytes() -> int:
    """Free memory in bytes: the machine's, or the container's where that is less."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    return int(min(free, free_bytes_of_cgroup(CGROUP)))


def start_allowance_s(contract: ModelContract) -> float:
    """Time in seconds that a model loaded with the server's start may add to it."""
    return 0.0 if not contract.present or is_small(contract) else measurement_s(contract)


def is_small(contract: ModelContract) -> bool:
    """True if opening the network in this process is quicker than in another one, and safe."""
    return contract.file.stat().st_size <= MAX_SMALL_BYTES


def reading_s(contract: ModelContract) -> float:
    """Time in seconds that a slow disk takes to read the model's file."""
    return contract.file.stat().st_size / READ_BYTES_PER_S
