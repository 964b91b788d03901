"""`lipsync bench --workers N`: how many live sessions N worker processes serve, against one.

Compared twice: with the models of this machine, which may take the cores that workers want, and with models that cost nothing, as on
a machine where a GPU draws. The second says what workers are good for, the first whether that helps here.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from orchestrator.commands.bench_report import P95_TARGET_MS
from orchestrator.commands.costless_models import write_costless_models
from orchestrator.commands.load_client import Load, all_latencies_ms, run_load
from orchestrator.commands.load_search import Tried, searched_in_turns
from orchestrator.commands.service_process import ORCHESTRATOR, UNLIMITED, ServiceProcess, cpu_seconds, running_service
from orchestrator.commands.terminal import table
from orchestrator.types import Samples

WARM_UP_S: Final = 1.0

HERE: Final = "models as they are"
COSTLESS: Final = "models that cost nothing"

Found = dict[int, Tried | None]
"""The largest load that was live, by the number of workers."""


def compare(arguments: Sequence[str], workers: int, load: Load, speech: Samples) -> tuple[str, bool]:
    """The table, and whether more workers served more; `load` says what every client asks for."""
    with tempfile.TemporaryDirectory() as name:
        write_costless_models(Path(name), load.size)
        services = {HERE: list(arguments), COSTLESS: [*arguments, "--model-repository", name]}
        found = {models: _found(models, given, workers, load, speech) for models, given in services.items()}
    return report(found, workers), any(_sessions(each[workers]) > _sessions(each[1]) for each in found.values())


def report(found: dict[str, Found], workers: int) -> str:
    """The table, and what follows from it."""
    rows = [("", "workers", "live sessions", "p95 ms", "CPU ms per frame", "of it the workers'")]
    rows += [(models, str(count), *_cells(best)) for models, each in found.items() for count, best in each.items()]
    lines = [table(rows, right=(1, 2, 3, 4, 5)), f"live: every frame of every session, and p95 of all frames within {P95_TARGET_MS:g} ms"]
    for models, each in found.items():
        if (first := each[1]) is not None:
            ratio = _sessions(each[workers]) / first.sessions
            lines.append(f"{models}: {workers} workers serve {ratio:.2f} times the live sessions of one")
    if (one := found[HERE][1]) is not None:
        cores = one.cpu_ms / max(one.own_ms, 1e-3)
        lines.append(f"one worker fills its core when the service has {cores:.1f} of them; with fewer, the models are what all wait for")
    return "\n".join(lines)


def _sessions(best: Tried | None) -> int:
    return 0 if best is None else best.sessions


def _cells(best: Tried | None) -> tuple[str, str, str, str]:
    return ("0", "-", "-", "-") if best is None else (str(best.sessions), f"{best.p95_ms:.1f}", f"{best.cpu_ms:.2f}", f"{best.own_ms:.2f}")


def _found(models: str, arguments: Sequence[str], workers: int, load: Load, speech: Samples) -> Found:
    with ExitStack() as stack:
        services: dict[int, ServiceProcess] = {}
        for count in (1, workers):
            services[count] = stack.enter_context(running_service([*arguments, "--workers", str(count)], UNLIMITED))
            for _ in range(2 * count):  # each worker prepares the face when it first sees it
                asyncio.run(run_load(replace(_against(services[count], load), sessions=1, seconds=WARM_UP_S), speech))

        def run(count: int, sessions: int) -> Tried:
            tried = _tried(services[count], replace(load, sessions=sessions), speech)
            verdict = "live" if tried.served else "too many"
            print(f"{models}, {count} workers, {sessions} sessions: p95 {tried.p95_ms:.1f} ms, {verdict}", file=sys.stderr)
            return tried

        return searched_in_turns(run, tuple(services), load.sessions)


def _against(service: ServiceProcess, load: Load) -> Load:
    return replace(load, url=service.url, token=service.token)


def _tried(service: ServiceProcess, load: Load, speech: Samples) -> Tried:
    before = cpu_seconds(service.pid)
    reports = asyncio.run(run_load(_against(service, load), speech))
    spent_s = {part: spent - before.get(part, 0.0) for part, spent in cpu_seconds(service.pid).items()}
    latencies = all_latencies_ms(reports)
    p95_ms = float(np.percentile(latencies, 95)) if latencies else float("inf")
    per_frame = 1000.0 / max(1, len(latencies))
    complete = all(report.complete for report in reports)
    return Tried(load.sessions, complete, p95_ms, per_frame * sum(spent_s.values()), per_frame * spent_s[ORCHESTRATOR])
