"""`lipsync bench`: load of live sessions on the real service, and its CPU cost per frame."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import aiohttp
import numpy as np

from orchestrator.audio.files import read_audio
from orchestrator.cli.bench.load_client import Load, run_load
from orchestrator.cli.bench.render_cost import render_cost_ms
from orchestrator.cli.bench.report import Measured, report
from orchestrator.cli.bench.service_process import (
    UNLIMITED,
    ServiceProcess,
    cpu_seconds,
    running_service,
)
from orchestrator.cli.configuration import settings
from orchestrator.cli.terminal import explain
from orchestrator.core.config import ConfigError
from orchestrator.core.errors import LipSyncError
from orchestrator.core.paths import SAMPLES
from orchestrator.core.types import Samples

WARM_UP_S: Final = 1.0
IDLE_S: Final = 2.0
"""Length of the measurement without sessions, for the idle consumption."""


def run(options: argparse.Namespace) -> int:
    """Exit status 0 when every session got every frame."""
    try:
        settings(options)
        speech = _speech(options.audio)
        with running_service(_serve_arguments(options), UNLIMITED) as service:
            measured = asyncio.run(_measure(service, options, speech))
    except (ConfigError, LipSyncError, aiohttp.ClientError, OSError) as error:
        return explain(error)
    print(report(measured))
    return 0 if all(session.complete for session in measured.reports) else 1


def _speech(file: Path | None) -> Samples:
    files = sorted(SAMPLES.glob("*.wav")) if file is None else [file]
    return np.concatenate([read_audio(each) for each in files])


def _serve_arguments(options: argparse.Namespace) -> list[str]:
    named = {
        name: getattr(options, name) for name in ("storage", "bucket", "model_repository", "config")
    }
    given = [
        text
        for name, value in named.items()
        if value is not None
        for text in (f"--{name.replace('_', '-')}", str(value))
    ]
    return [*given, "--commercial-safe"] if options.commercial_safe else given


async def _measure(
    service: ServiceProcess, options: argparse.Namespace, speech: Samples
) -> Measured:
    load = _load(service, options)
    print(
        f"warming up {service.url}, then {load.sessions} sessions of {load.seconds:g} s ...",
        file=sys.stderr,
    )
    (warm_up,) = await run_load(replace(load, sessions=1, seconds=WARM_UP_S), speech)
    idle_share = await _idle_share(service.pid)
    before, stages = cpu_seconds(service.pid), await asyncio.to_thread(_stages, service.url)
    began, client_began = time.monotonic(), time.process_time()
    reports = await run_load(load, speech)
    elapsed_s, client_cpu_s = time.monotonic() - began, time.process_time() - client_began
    return Measured(
        load=load,
        service=service,
        warm_up=warm_up,
        reports=reports,
        elapsed_s=elapsed_s,
        cpu_s=_difference(before, cpu_seconds(service.pid)),
        idle_share=idle_share,
        client_cpu_s=client_cpu_s,
        stages=_stages_since(stages, await asyncio.to_thread(_stages, service.url)),
        render_cost_ms=await render_cost_ms(options.size),
    )


async def _idle_share(pid: int) -> dict[str, float]:
    """CPU time of each part per second without sessions."""
    before = cpu_seconds(pid)
    await asyncio.sleep(IDLE_S)
    return {part: spent / IDLE_S for part, spent in _difference(before, cpu_seconds(pid)).items()}


def _load(service: ServiceProcess, options: argparse.Namespace) -> Load:
    return Load(
        service.url,
        options.sessions,
        options.seconds,
        options.size,
        options.fps,
        options.format,
        token=service.token,
    )


def _difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {part: spent - before.get(part, 0.0) for part, spent in after.items()}


def _stages(url: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Sum in seconds and count of `lipsync_stage_seconds` by stage and model."""
    from prometheus_client.parser import text_string_to_metric_families

    # No proxy: the service is on this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{url}/metrics", timeout=10.0) as response:
        text = response.read().decode()
    values: dict[tuple[str, str, str], float] = {}
    for family in text_string_to_metric_families(text):
        if family.name == "lipsync_stage_seconds":
            for sample in family.samples:
                values[
                    sample.name.rpartition("_")[2], sample.labels["stage"], sample.labels["model"]
                ] = sample.value
    return {
        key[1:]: (value, values["count", key[1], key[2]])
        for key, value in values.items()
        if key[0] == "sum"
    }


def _stages_since(
    before: Mapping[tuple[str, str], tuple[float, float]],
    after: Mapping[tuple[str, str], tuple[float, float]],
) -> dict[tuple[str, str], tuple[float, float]]:
    none = (0.0, 0.0)
    return {
        key: (total - before.get(key, none)[0], count - before.get(key, none)[1])
        for key, (total, count) in after.items()
    }
