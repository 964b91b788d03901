"""One line of the doctor's report: a check, its state, and how to repair it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Result of a check."""

    OK = "ok"
    NOTE = "note"
    """Something optional is absent."""
    MISSING = "MISSING"
    """`lipsync serve` cannot run, or not with its default model."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    state: State
    finding: str
    fix: str = ""
    """Command or step that repairs it; empty where nothing needs repair."""


def checked(name: str, good: bool, finding: str, fix: str, *, optional: bool = False) -> Check:
    """OK where `good`; otherwise MISSING, or a note where it is `optional`, with its `fix`."""
    if good:
        return Check(name, State.OK, finding)
    return Check(name, State.NOTE if optional else State.MISSING, finding, fix)
