"""Latency of real-time clients of a running service.

    python -m benchmarks.load [--url http://127.0.0.1:8080] [--sessions 8]

Prints frames and complete sessions, percentiles of the latency in ms, and KiB per frame.
`lipsync bench` applies the same load to a service that it starts and whose CPU time it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.shared import command_line, sample_speech
from orchestrator.audio.files import read_audio
from orchestrator.cli.bench.load_client import Load, run_load
from orchestrator.cli.bench.session_report import SessionReport, all_latencies_ms


def main() -> int:
    """Print the figures; return 1 unless every session received every frame."""
    options = _parser().parse_args()
    speech = read_audio(options.audio) if options.audio else sample_speech()
    load = Load(
        options.url.rstrip("/"),
        options.sessions,
        options.seconds,
        options.size,
        options.fps,
        options.format,
        options.user,
        options.face,
    )
    try:
        reports = asyncio.run(run_load(load, speech))
    except (aiohttp.ClientError, OSError) as error:
        print(f"{load.url} does not respond ({error}): start the service", file=sys.stderr)
        return 1
    print(_text(reports))
    return 0 if all(report.complete for report in reports) else 1


def _parser() -> argparse.ArgumentParser:
    parser = command_line("load", __doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", type=int, choices=(128, 256, 512), default=256)
    parser.add_argument("--fps", type=float, default=20.0)
    parser.add_argument("--format", choices=("jpeg", "h264"), default="jpeg")
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--user", default="demo")
    parser.add_argument("--face", default="demo")
    return parser


def _text(reports: Sequence[SessionReport]) -> str:
    frames, expected = (
        sum(report.frames for report in reports),
        sum(report.expected_frames for report in reports),
    )
    complete = sum(report.complete for report in reports)
    latencies_ms = all_latencies_ms(reports) or [float("nan")]
    p50, p95, p99 = np.percentile(latencies_ms, (50, 95, 99))
    first_p50, first_p95 = np.percentile([report.first_frame_ms for report in reports], (50, 95))
    lines = [
        f"{frames} of {expected} frames, {complete} of {len(reports)} sessions complete",
        f"look-ahead sent -> frame: p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms",
        f"first chunk -> first frame: p50 {first_p50:.1f}, p95 {first_p95:.1f} ms",
        f"{sum(report.bytes_received for report in reports) / max(1, frames) / 1024.0:.1f} KiB "
        "per frame",
    ]
    lines += [
        f"session {number}: {fault}"
        for number, report in enumerate(reports)
        for fault in report.faults
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
