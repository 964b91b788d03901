"""Real-time clients against a service that runs already: `python -m benchmarks.load --url
http://127.0.0.1:8080 --sessions 8`.

`lipsync bench` is the same load with a service of its own, whose CPU time it can see.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import numpy as np

from orchestrator.audio.files import read_audio
from orchestrator.cli.bench.load_client import Load, run_load
from orchestrator.cli.bench.session_report import SessionReport, all_latencies_ms
from orchestrator.core.paths import SAMPLES


def main() -> int:
    """Exit status 0 when every session got every frame."""
    options = _parser().parse_args()
    files = [options.audio] if options.audio else sorted(SAMPLES.glob("*.wav"))
    speech = np.concatenate([read_audio(file) for file in files])
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
        print(f"{load.url} does not answer: {error}", file=sys.stderr)
        return 1
    print(_text(reports))
    return 0 if all(report.complete for report in reports) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description="Real-time clients against a running service."
    )
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
        f"{sum(report.bytes_received for report in reports) / max(1, frames) / 1024.0:.1f} KiB a "
        "frame",
    ]
    lines += [
        f"session {number}: {fault}"
        for number, report in enumerate(reports)
        for fault in report.faults
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
