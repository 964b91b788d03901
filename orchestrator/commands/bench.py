"""`lipsync bench`: the real service under live sessions, and what a frame costs it."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from orchestrator.audio.reader import read_audio
from orchestrator.commands.load_client import Load, SessionReport, all_latencies_ms, run_load
from orchestrator.commands.render_cost import render_cost_ms
from orchestrator.commands.service_process import ServiceProcess, cpu_seconds, running_service
from orchestrator.commands.settings import settings
from orchestrator.commands.terminal import explain, table
from orchestrator.config import ConfigError, ServiceConfig
from orchestrator.errors import LipSyncError
from orchestrator.types import Samples

SAMPLES: Final = Path(__file__).parent.parent / "demo" / "page" / "samples"

WARM_UP_S: Final = 1.0
IDLE_S: Final = 2.0
"""How long the service is watched doing nothing, to know what it costs without sessions."""

P95_TARGET_MS: Final = 100.0
FIRST_FRAME_TARGET_MS: Final = 250.0
CPU_TARGET_MS: Final = 4.0
RENDER_TARGET_MS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that one run found."""

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

    @property
    def frames(self) -> int:
        """Frames of all sessions."""
        return sum(report.frames for report in self.reports)


def run(options: argparse.Namespace) -> int:
    """Exit status 0 when every session got every frame."""
    try:
        config = settings(options)
        speech = _speech(options.audio)
        with running_service(_serve_arguments(options)) as service:
            measured = asyncio.run(_measure(service, options, speech))
        cost_ms = asyncio.run(render_cost_ms(config, options.size))
    except (ConfigError, LipSyncError, OSError) as error:
        return explain(error)
    print(_text(measured, options, cost_ms, config))
    return 0 if all(report.complete for report in measured.reports) else 1


def _speech(file: Path | None) -> Samples:
    files = sorted(SAMPLES.glob("*.wav")) if file is None else [file]
    return np.concatenate([read_audio(each) for each in files])


def _serve_arguments(options: argparse.Namespace) -> list[str]:
    named = {"--storage": options.storage, "--model-repository": options.model_repository, "--config": options.config}
    return [text for flag, value in named.items() if value is not None for text in (flag, str(value))]


async def _measure(service: ServiceProcess, options: argparse.Namespace, speech: Samples) -> Measured:
    load = Load(service.url, options.sessions, options.seconds, options.size, options.fps, options.format)
    first = Load(service.url, 1, WARM_UP_S, options.size, options.fps, options.format)
    print(f"warming up {service.url}, then {load.sessions} sessions of {load.seconds:g} s ...", file=sys.stderr)
    (warm_up,) = await run_load(first, speech)
    idle_before = cpu_seconds(service.pid)
    await asyncio.sleep(IDLE_S)
    before, stages = cpu_seconds(service.pid), await asyncio.to_thread(_stages, service.url)
    began, client_began = time.monotonic(), time.process_time()
    reports = await run_load(load, speech)
    elapsed_s, client_cpu_s = time.monotonic() - began, time.process_time() - client_began
    after = cpu_seconds(service.pid)
    return Measured(
        service=service,
        warm_up=warm_up,
        reports=reports,
        elapsed_s=elapsed_s,
        cpu_s=_difference(before, after),
        idle_share={part: spent / IDLE_S for part, spent in _difference(idle_before, before).items()},
        client_cpu_s=client_cpu_s,
        stages=_stages_since(stages, await asyncio.to_thread(_stages, service.url)),
    )


def _difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {part: spent - before.get(part, 0.0) for part, spent in after.items()}


def _stages(url: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Sum and count of `lipsync_stage_seconds` by stage and model."""
    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(f"{url}/metrics", timeout=10.0) as response:
        text = response.read().decode()
    values: dict[tuple[str, str, str], float] = {}
    for family in text_string_to_metric_families(text):
        if family.name == "lipsync_stage_seconds":
            for sample in family.samples:
                values[sample.name.rpartition("_")[2], sample.labels["stage"], sample.labels["model"]] = sample.value
    return {key[1:]: (value, values["count", key[1], key[2]]) for key, value in values.items() if key[0] == "sum"}


def _stages_since(
    before: Mapping[tuple[str, str], tuple[float, float]], after: Mapping[tuple[str, str], tuple[float, float]]
) -> dict[tuple[str, str], tuple[float, float]]:
    none = (0.0, 0.0)
    return {key: (total - before.get(key, none)[0], count - before.get(key, none)[1]) for key, (total, count) in after.items()}


def _text(measured: Measured, options: argparse.Namespace, cost_ms: float, config: ServiceConfig) -> str:
    heading = f"{options.sessions} sessions of {options.seconds:g} s, {options.size}x{options.size}, {options.fps:g} fps, {options.format}"
    return "\n\n".join(
        [heading, _completeness(measured), _latencies(measured), _cpu(measured), _stage_table(measured), _verdict(measured, options, cost_ms)]
    )


def _completeness(measured: Measured) -> str:
    expected = sum(report.expected_frames for report in measured.reports)
    complete = sum(report.complete for report in measured.reports)
    models = ", ".join(sorted(set().union(*(report.models for report in measured.reports))))
    lines = [
        f"frames     {measured.frames} of {expected}, {complete} of {len(measured.reports)} sessions complete, drawn by {models or 'nobody'}",
        f"start      listening after {measured.service.start_s:.1f} s; first frame of the first session {measured.warm_up.first_frame_ms:.0f} ms",
    ]
    for number, report in enumerate(measured.reports):
        lines += [f"session {number}: {trouble}" for trouble in report.troubles]
    return "\n".join(lines)


def _latencies(measured: Measured) -> str:
    frames = all_latencies_ms(measured.reports)
    firsts = [report.first_frame_ms for report in measured.reports if not math.isnan(report.first_frame_ms)]
    rows = [("seen by clients, ms", "p50", "p95", "p99", "worst")]
    rows += [(name, *_percentiles(values)) for name, values in (("look-ahead sent -> frame", frames), ("first chunk -> first frame", firsts))]
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
    return table(rows, right=(1, 2, 3)) + f"\nthe clients took {100.0 * busy:.0f} % of one core themselves"


def _cpu_cells(measured: Measured, parts: Sequence[str]) -> tuple[str, str, str]:
    idle_share = sum(measured.idle_share.get(part, 0.0) for part in parts)
    return f"{_cpu_ms(measured, parts):.2f}", f"{100.0 * idle_share:.1f}", f"{_cpu_ms(measured, parts, idle=False):.2f}"


def _cpu_ms(measured: Measured, parts: Sequence[str], *, idle: bool = True) -> float:
    """CPU milliseconds per frame, with or without what the service uses anyhow."""
    spent_s = sum(measured.cpu_s[part] - (0.0 if idle else measured.idle_share.get(part, 0.0) * measured.elapsed_s) for part in parts)
    return 1000.0 * spent_s / max(1, measured.frames)


def _stage_table(measured: Measured) -> str:
    rows = [("stage", "of", "batches", "mean ms")]
    rows += [(stage, model, f"{count:.0f}", f"{1000.0 * total / count:.2f}") for (stage, model), (total, count) in sorted(measured.stages.items()) if count]
    return table(rows, right=(2, 3))


def _verdict(measured: Measured, options: argparse.Namespace, cost_ms: float) -> str:
    within = sum(report.percentile_ms(95) <= P95_TARGET_MS for report in measured.reports)
    firsts = [report.first_frame_ms for report in measured.reports]
    first_ms = float(np.percentile(firsts, 95)) if firsts else math.nan
    service_ms = _cpu_ms(measured, tuple(measured.cpu_s))
    sessions = len(measured.reports)
    rows = [
        ("target", "measured", "limit", ""),
        ("sessions with p95 within 100 ms", f"{within}", f"{sessions}", _mark(within == sessions)),
        ("first frame, p95", f"{first_ms:.0f} ms", f"{FIRST_FRAME_TARGET_MS:.0f} ms", _mark(first_ms <= FIRST_FRAME_TARGET_MS)),
        ("CPU of the service, per frame", f"{service_ms:.2f} ms", f"{CPU_TARGET_MS:g} ms", _mark(service_ms <= CPU_TARGET_MS)),
        (f"drawing at {options.size} px, CPU per frame", f"{cost_ms:.2f} ms", *_render_limit(options.size, cost_ms)),
    ]
    return table(rows, right=(1, 2))


def _render_limit(size: int, cost_ms: float) -> tuple[str, str]:
    return (f"{RENDER_TARGET_MS:g} ms", _mark(cost_ms <= RENDER_TARGET_MS)) if size <= 256 else ("-", "")


def _mark(met: bool) -> str:
    return "met" if met else "missed"
