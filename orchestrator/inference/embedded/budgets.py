"""How long a model may take to load and to answer, and whether it fits into memory: told from its
file and from one measured run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from orchestrator.core.cgroup import CGROUP, free_bytes_of_cgroup
from orchestrator.inference.model_contract import ModelContract

HEAVY_S: Final = 0.1
"""CPU time of one item beyond which a model hardly follows speech here: its backend process gives
way to the others.
"""

SLACK: Final = 10.0
"""Times the measured CPU time: other processes want the cores too, and several instances load or
answer at once.
"""

ANSWER_S: Final = 2.0
"""A first inference on a busy laptop has been seen to take a second."""

LOAD_S: Final = 15.0
READ_BYTES_PER_S: Final = 8 << 20
"""A slow disk, under a network's file."""

RUN_S: Final = 60.0
"""For the run in a process of its own that measures all this, besides the reading."""

SMALL_BYTES: Final = 8 << 20
"""Of the file of a small network."""

SIZE_IN_MEMORY: Final = 3
"""Times its file, for each instance: twice while it is opened, 1.3 times afterwards, and the
tensors of a run.
"""

SPARE_BYTES: Final = 512 << 20
"""Stays free for the sessions."""


def answer_s(answering_s: float) -> float:
    """How long a model may take to answer its canary; `answering_s` is the CPU time that one answer
    takes.
    """
    return ANSWER_S + SLACK * answering_s


def load_s(contract: ModelContract, cost_s: float) -> float:
    """How long loading may take; `cost_s` is the CPU time of opening the model and one answer,
    since it is warmed up.
    """
    return LOAD_S + reading_s(contract) + SLACK * cost_s


def run_s(contract: ModelContract) -> float:
    """How long finding out the known answer may take."""
    return RUN_S + SLACK * reading_s(contract)


def wants_bytes(contract: ModelContract) -> int:
    """Free memory that loading the model takes, roughly."""
    return contract.file.stat().st_size * SIZE_IN_MEMORY * contract.instances + SPARE_BYTES


def free_bytes() -> int:
    """Memory that could be used now: the machine's, or the container's where that is less."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    return int(min(free, free_bytes_of_cgroup(CGROUP)))


def patience_s(contract: ModelContract) -> float:
    """What a model that is loaded with the server's start may add to it."""
    return 0.0 if not contract.present or is_small(contract) else run_s(contract)


def is_small(contract: ModelContract) -> bool:
    """Whether it is quicker to open the network in this process than in one of its own, and does no
    harm.
    """
    return contract.file.stat().st_size <= SMALL_BYTES


def reading_s(contract: ModelContract) -> float:
    """How long a slow disk takes to read the model's file."""
    return contract.file.stat().st_size / READ_BYTES_PER_S
