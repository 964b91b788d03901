"""Report of a benchmark: tables of the measurements and of the targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.cli.bench.load_client import Load
from orchestrator.cli.bench.service_process import ServiceProcess
from orchestrator.cli.bench.session_report import SessionReport, all_latencies_ms
from orchestrator.cli.terminal import table

P95_TARGET_MS: Final = 100.0
FIRST_FRAME_TARGET_MS: Final = 250.0
CPU_TARGET_MS: Final = 4.0
BATCHED_CPU_TARGET_MS: Final = 3.0
BATCHED_FROM: Final = 16
"""Number of sessions from which on chunks are batched often."""
RENDER_TARGET_MS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of one run."""

    load: Load
    service: ServiceProcess
    warm_up: SessionReport
    reports: list[SessionReport]
    elapsed_s: float
    cpu_s: dict[str, float]
    """CPU time of each part during the load."""
    idle_share: dict[str, float]
    """CPU time of each part per second without sessions."""
    client_cpu_s: float
    stages: dict[tuple[str, str], tuple[float, float]]
    """Seconds and batches of each stage and model."""
    render_cost_ms: float
    """CPU time of rendering one frame, without the service."""

    @property
    def frames(self) -> int:
        """Frames of all sessions."""
        return sum(report.frames for report in self.reports)


def report(measured: Measured) -> str:
    """The whole report: a heading and all tables."""
    load = measured.load
    heading = (
        f"{load.sessions} sessions of {load.seconds:g} s, {load.size}x{load.size}, {load.fps:g} "
        f"fps, {load.video_format}"
    )
    tables = (_completeness, _latencies, _cpu, _stages, _verdict)
    return "\n\n".join([heading, *(each(measured) for each in tables)])


def _completeness(measured: Measured) -> str:
    reports = measured.reports
    expected, complete = (
        sum(each.expected_frames for each in reports),
        sum(each.complete for each in reports),
    )
    models = ", ".join(sorted(set().union(*(each.models for each in reports)))) or "nobody"
    first_ms = measured.warm_up.first_frame_ms
    lines = [
        f"frames  {measured.frames} of {expected}, {complete} of {len(reports)} sessions "
        f"complete, drawn by {models}",
        f"start   listening after {measured.service.start_s:.1f} s, {first_ms:.0f} ms more from "
        "the very first chunk to its first frame",
    ]
    for number, each in enumerate(reports):
        lines += [f"session {number}: {fault}" for fault in each.faults]
    return "\n".join(lines)


def _latencies(measured: Measured) -> str:
    frames = all_latencies_ms(measured.reports)
    firsts = [
        report.first_frame_ms
        for report in measured.reports
        if not math.isnan(report.first_frame_ms)
    ]
    rows = [("seen by clients, ms", "p50", "p95", "p99", "worst")]
    rows.append(("look-ahead sent -> frame", *_percentiles(frames)))
    rows.append(("first chunk -> first frame", *_percentiles(firsts)))
    return table(rows, right=(1, 2, 3, 4))


def _percentiles(values: Sequence[float]) -> tuple[str, str, str, str]:
    if not values:
        return ("-", "-", "-", "-")
    p50, p95, p99, worst = (f"{value:.1f}" for value in np.percentile(values, (50, 95, 99, 100)))
    return p50, p95, p99, worst


def _cpu(measured: Measured) -> str:
    rows = [("CPU of the service", "ms per frame", "idle %", "without idle")]
    parts = tuple(measured.cpu_s)
    rows += [(part, *_cpu_cells(measured, [part])) for part in parts]
    rows.append(("whole service", *_cpu_cells(measured, parts)))
    busy = measured.client_cpu_s / measured.elapsed_s
    return (
        table(rows, right=(1, 2, 3))
        + f"\nthe clients took {100.0 * busy:.0f} % of one core themselves"
    )


def _cpu_cells(measured: Measured, parts: Sequence[str]) -> tuple[str, str, str]:
    idle_share = sum(measured.idle_share.get(part, 0.0) for part in parts)
    return (
        f"{_cpu_ms(measured, parts):.2f}",
        f"{100.0 * idle_share:.1f}",
        f"{_cpu_ms(measured, parts, idle=False):.2f}",
    )


def _cpu_ms(measured: Measured, parts: Sequence[str], *, idle: bool = True) -> float:
    """CPU milliseconds per frame, with or without the idle consumption of the service."""
    spent_s = sum(
        measured.cpu_s[part]
        - (0.0 if idle else measured.idle_share.get(part, 0.0) * measured.elapsed_s)
        for part in parts
    )
    return 1000.0 * spent_s / max(1, measured.frames)


def _stages(measured: Measured) -> str:
    rows = [("stage", "of", "batches", "mean ms")]
    for (stage, model), (total_s, count) in sorted(measured.stages.items()):
        if count:
            rows.append((stage, model, f"{count:.0f}", f"{1000.0 * total_s / count:.2f}"))
    return table(rows, right=(2, 3))


def _verdict(measured: Measured) -> str:
    rows = [("target", "measured", "limit", ""), *_latency_targets(measured)]
    return table([*rows, *_cost_targets(measured)], right=(1, 2))


def _latency_targets(measured: Measured) -> list[tuple[str, str, str, str]]:
    sessions = len(measured.reports)
    within = sum(each.percentile_ms(95) <= P95_TARGET_MS for each in measured.reports)
    first_ms = float(np.percentile([each.first_frame_ms for each in measured.reports], 95))
    name = f"sessions with p95 within {P95_TARGET_MS:g} ms"
    first_mark = _mark(first_ms <= FIRST_FRAME_TARGET_MS)
    return [
        (name, f"{within}", f"{sessions}", _mark(within == sessions)),
        ("first frame, p95", f"{first_ms:.0f} ms", f"{FIRST_FRAME_TARGET_MS:g} ms", first_mark),
    ]


def _cost_targets(measured: Measured) -> list[tuple[str, str, str, str]]:
    size, render_ms = measured.load.size, measured.render_cost_ms
    service_ms = _cpu_ms(measured, tuple(measured.cpu_s))
    is_batched = len(measured.reports) >= BATCHED_FROM
    target_ms = BATCHED_CPU_TARGET_MS if is_batched else CPU_TARGET_MS
    service_limit = _limit(size, service_ms, target_ms)
    render_limit = _limit(size, render_ms, RENDER_TARGET_MS)
    return [
        ("CPU of the service, per frame", f"{service_ms:.2f} ms", *service_limit),
        (f"drawing at {size} px, CPU per frame", f"{render_ms:.2f} ms", *render_limit),
    ]


def _limit(size: int, measured_ms: float, target_ms: float) -> tuple[str, str]:
    """Limit and verdict of a cost; pictures above 256 pixels have no target."""
    return (f"{target_ms:g} ms", _mark(measured_ms <= target_ms)) if size <= 256 else ("-", "")


def _mark(met: bool) -> str:
    return "met" if met else "missed"
