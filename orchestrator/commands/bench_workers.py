"""`lipsync bench --workers N`: how many live sessions N worker processes serve, against one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from orchestrator.commands.bench_report import P95_TARGET_MS
from orchestrator.commands.load_client import Load, all_latencies_ms, run_load
from orchestrator.commands.service_process import ORCHESTRATOR, cpu_seconds, running_service
from orchestrator.commands.terminal import table
from orchestrator.types import Samples

GROWTH: Final = 1.5
"""From one try to the next, until one fails; then the middle between the last two, until they are close."""

CLOSE: Final = 1.1

MOST_SESSIONS: Final = 512

WARM_UP_S: Final = 1.0

UNLIMITED: Final = {"LIPSYNC_MAX_CONCURRENT_SESSIONS": "4096", "LIPSYNC_MAX_SESSIONS_PER_USER": "4096"}
"""The machine's limit is looked for, not the configuration's."""


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


def most_served(run: Callable[[int], Tried], first: int) -> Tried | None:
    """The largest load that was served, found by trying; None where not even one session is."""
    best: Tried | None = None
    sessions, too_many = first, MOST_SESSIONS + 1
    while sessions >= 1:
        tried = run(sessions)
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


def compare(arguments: Sequence[str], workers: int, load: Load, speech: Samples) -> tuple[str, bool]:
    """The table, and whether more workers served more; `load` says what every client asks for."""
    found = {count: _most(arguments, count, load, speech) for count in (1, workers)}
    rows = [("workers", "live sessions", "p95 ms", "CPU ms per frame", "of it the workers'")]
    rows += [(str(count), *_cells(best)) for count, best in found.items()]
    one, many = (best.sessions if best else 0 for best in found.values())
    lines = [table(rows, right=(1, 2, 3, 4)), f"live: every frame of every session, and p95 of all frames within {P95_TARGET_MS:g} ms"]
    if (first := found[1]) is not None:
        cores = first.cpu_ms / max(first.own_ms, 1e-3)
        lines.append(f"one worker fills its core when the service has {cores:.1f} of them; with fewer, more workers have nothing to win")
        lines.append(f"{workers} workers serve {many / one:.2f} times the live sessions of one")
    return "\n".join(lines), many > one


def _cells(best: Tried | None) -> tuple[str, str, str, str]:
    return ("0", "-", "-", "-") if best is None else (str(best.sessions), f"{best.p95_ms:.1f}", f"{best.cpu_ms:.2f}", f"{best.own_ms:.2f}")


def _most(arguments: Sequence[str], workers: int, load: Load, speech: Samples) -> Tried | None:
    with running_service([*arguments, "--workers", str(workers)], UNLIMITED) as service:
        here = replace(load, url=service.url)
        for _ in range(2 * workers):  # each worker prepares the face when it first sees it
            asyncio.run(run_load(replace(here, sessions=1, seconds=WARM_UP_S), speech))

        def run(sessions: int) -> Tried:
            before = cpu_seconds(service.pid)
            reports = asyncio.run(run_load(replace(here, sessions=sessions), speech))
            spent_s = {part: spent - before.get(part, 0.0) for part, spent in cpu_seconds(service.pid).items()}
            latencies = all_latencies_ms(reports)
            complete = all(report.complete for report in reports)
            p95_ms = float(np.percentile(latencies, 95)) if latencies else float("inf")
            per_frame = 1000.0 / max(1, len(latencies))
            tried = Tried(sessions, complete, p95_ms, per_frame * sum(spent_s.values()), per_frame * spent_s[ORCHESTRATOR])
            print(f"{workers} workers, {sessions} sessions: p95 {p95_ms:.1f} ms, {'live' if tried.served else 'too many'}", file=sys.stderr)
            return tried

        return most_served(run, load.sessions)
