"""Finds the largest load that a service carries, for several services in turns: a machine that is busy is busy for all of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.commands.bench_report import P95_TARGET_MS

GROWTH: Final = 1.5
"""From one try to the next, until one fails; then the middle between the last two, until they are close."""

CLOSE: Final = 1.05

MOST_SESSIONS: Final = 512


@dataclass(frozen=True, slots=True)
class Tried:
    """One load that was run."""

    sessions: int
    complete: bool
    """Every session got every frame, in order."""
    p95_ms: float
    cpu_ms: float
    """Of the whole service, per frame."""
    own_ms: float = 0.0
    """Of that the workers' own, without Triton."""

    @property
    def served(self) -> bool:
        """Whether all of it was live."""
        return self.complete and self.p95_ms <= P95_TARGET_MS


Search = Generator[int, Tried, Tried | None]


def search(first: int) -> Search:
    """Asks for loads to be run, and returns the largest that was served; None where not even one session is.

    A load that fails is run once more: every machine has bad moments.
    """
    best: Tried | None = None
    sessions, too_many = first, MOST_SESSIONS + 1
    while sessions >= 1:
        tried = yield sessions
        if not tried.served:
            tried = yield sessions
        if tried.served:
            best = tried
        else:
            too_many = sessions
        low = 0 if best is None else best.sessions
        if best is not None and too_many <= max(low + 1, CLOSE * low):
            return best
        grown = round(GROWTH * low) if too_many > MOST_SESSIONS else (low + too_many) // 2
        sessions = min(max(grown, low + 1), too_many - 1) if best is not None else too_many // 2
    return best


def searched_in_turns(run: Callable[[int, int], Tried], kinds: Sequence[int], first: int) -> dict[int, Tried | None]:
    """What `search` finds for each of `kinds`; `run` is called with the kind and the number of sessions."""
    searches: dict[int, Search] = {kind: search(first) for kind in kinds}
    wanted = {kind: next(each) for kind, each in searches.items()}
    found: dict[int, Tried | None] = {}
    while wanted:
        for kind, sessions in list(wanted.items()):
            try:
                wanted[kind] = searches[kind].send(run(kind, sessions))
            except StopIteration as end:
                found[kind] = end.value
                del wanted[kind]
    return found
