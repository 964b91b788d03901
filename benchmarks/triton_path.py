"""CPU time that Triton adds to the path of a frame, measured with null models.

    python -m benchmarks.triton_path [--rounds 5] [--sessions 8]

Two services run side by side, one with Triton and one with inference in process. They are loaded in
turns, so that other load on the machine affects both. A path is everything between two socket calls
of a client: message, sound, features, inference, JPEG, message. Prints CPU ms per frame of both, by
process, and the ratio, median and range over the rounds. CPU time is that of the service with its
server and backend processes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.null_models import MODELS, write_null_models
from benchmarks.shared import command_line, sample_speech
from orchestrator.cli.bench.load_client import Load, run_load
from orchestrator.cli.bench.service_process import cpu_seconds
from orchestrator.core.config import ServiceConfig
from orchestrator.inference import Inference
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.open_inference import open_inference
from orchestrator.server.app import serving

ROOT: Final = Path(__file__).parents[1]
WAYS: Final = ("in process", "through Triton")
MAX_RATIO: Final = 1.6
"""Highest accepted CPU time through Triton relative to that in process."""

SECONDS: Final = 6.0
SIZE: Final = 256


async def serve(way: str, folder: Path) -> None:
    """Run the service with the models of `folder` until the process is terminated."""
    config = ServiceConfig(
        port=0,
        storage=folder,
        model_repository=folder,
        frame_cache_ttl=0.0,
        capacity_probe=False,
        chunk_deadline_ms=2000,
    )

    @asynccontextmanager
    async def opened() -> AsyncIterator[Inference]:
        server = None if way == WAYS[0] else EmbeddedTriton(folder, MODELS)
        async with open_inference(config, server) as inference:
            assert server is None or all(map(server.has_ready, MODELS)), server.health()
            yield inference

    async with serving(config, opened) as listening:
        print(f"http://127.0.0.1:{listening.port}", flush=True)
        await asyncio.Event().wait()


@contextmanager
def running(way: str, folder: Path) -> Iterator[tuple[int, str]]:
    """Start a service in a child process; yield its process id and URL."""
    command = [sys.executable, "-m", "benchmarks.triton_path", "--serve", way]
    command += ["--repository", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield process.pid, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def measured(pid: int, url: str, sessions: int) -> dict[str, float]:
    """CPU milliseconds per frame of each process of the service under one load."""
    before = cpu_seconds(pid)
    reports = asyncio.run(
        run_load(Load(url, sessions, SECONDS, SIZE, 20.0, "jpeg"), sample_speech("hello.wav"))
    )
    frames = sum(report.frames for report in reports)
    assert set().union(*(report.models for report in reports)) == {"tpsm"}, [
        report.faults for report in reports
    ]
    return {
        part: 1000.0 * (spent - before.get(part, 0.0)) / frames
        for part, spent in cpu_seconds(pid).items()
    }


def compare(rounds: int, sessions: int) -> None:
    """Load both services in turns and print the medians and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_null_models(folder, SIZE)
        with running(WAYS[0], folder) as here, running(WAYS[1], folder) as there:
            services, found = (
                dict(zip(WAYS, (here, there), strict=True)),
                {way: list[dict[str, float]]() for way in WAYS},
            )
            for service in services.values():
                measured(*service, 1)
            for _ in range(rounds):
                for way, service in services.items():
                    found[way].append(measured(*service, sessions))
    for way, parts in found.items():
        shares = ", ".join(
            f"{part} {statistics.median(each[part] for each in parts):.2f}" for part in parts[0]
        )
        print(
            f"{way:14}: {statistics.median(sum(each.values()) for each in parts):.2f} ms CPU per "
            f"frame ({shares})"
        )
    ratios = np.array(
        [
            sum(two.values()) / sum(one.values())
            for one, two in zip(found[WAYS[0]], found[WAYS[1]], strict=True)
        ]
    )
    ratio = float(np.median(ratios))
    verdict = f"{'within' if ratio <= MAX_RATIO else 'above'} {MAX_RATIO}"
    print(
        f"{sessions} sessions: {ratio:.2f} times ({ratios.min():.2f} to {ratios.max():.2f} in "
        f"{rounds} rounds), {verdict}"
    )


def main() -> None:
    """Run the comparison, or one of its services."""
    parser = command_line("triton_path", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--serve", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--repository", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.repository))
    else:
        compare(options.rounds, options.sessions)


if __name__ == "__main__":
    main()
