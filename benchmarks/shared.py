"""Shared parts of the benchmarks: command line, portrait, speech, CPU time, seeded networks."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import aiohttp
import numpy as np
import psutil

from orchestrator.audio.files import read_audio
from orchestrator.core.paths import SAMPLES, SHIPPED_FACES
from orchestrator.core.types import Samples
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, face_prefix


def command_line(module: str, documentation: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m benchmarks.<module>` that describes it by its module docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=documentation,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def portrait_files() -> dict[str, bytes]:
    """Files of the shipped portrait by name, in the layout of a face store."""
    folder = SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def sample_speech(file: str = "*.wav") -> Samples:
    """The page's recordings of this name or pattern one after another, 16 kHz mono `[n]`."""
    return np.concatenate([read_audio(path) for path in sorted(SAMPLES.glob(file))])


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """User and system CPU time of these processes so far, in seconds."""
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def has_torch() -> bool:
    """True when torch is installed; otherwise print how to install it."""
    is_installed = importlib.util.find_spec("torch") is not None
    if not is_installed:
        print("torch is not installed; install it with: pip install 'lipsync-service[export]'")
    return is_installed


def export_seeded(model: str, networks: Sequence[str], repository: Path, seed: int) -> None:
    """Export networks of a model with random weights, batch 1; CalledProcessError on failure."""
    command = [sys.executable, "-m", "export", model, "--seeded", str(seed), "--batches", "1"]
    command += ["--networks", ",".join(networks), "--repository", str(repository)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


async def triton_counts(metrics_url: str, model: str) -> tuple[int, int]:
    """Successful requests and executions of a model since the start, by Triton's metrics."""
    async with aiohttp.ClientSession() as http, http.get(metrics_url) as response:
        lines = (await response.text()).splitlines()

    def count(metric: str) -> int:
        label = f'model="{model}"'
        rows = [line for line in lines if line.startswith(f"{metric}{{") and label in line]
        return int(sum(float(row.rsplit(" ", 1)[1]) for row in rows))

    return count("nv_inference_request_success"), count("nv_inference_exec_count")
