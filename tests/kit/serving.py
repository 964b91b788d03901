"""`lipsync serve` as a user starts it: a program of its own, with the embedded Triton."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

PATIENT = {"LIPSYNC_CHUNK_DEADLINE_MS": "10000", "LIPSYNC_CAPACITY_PROBE": "0"}
"""Settings of a service on a slow or busy machine: long deadlines, no measured capacity limit."""

IN_TIME = {"LIPSYNC_CAPACITY_PROBE": "0"}
"""With the deadlines that a service has by itself, for tests that say what happens when they pass. 
"""


@contextmanager
def serve(
    storage: Path, *flags: str, checkout: Path | None = None, settings: Mapping[str, str] = PATIENT
) -> Iterator[tuple[str, psutil.Process]]:
    """The service's URL and its process, run from this or another checkout; ended as Ctrl+C ends
    it.
    """
    command = [
        sys.executable,
        "-m",
        "orchestrator",
        "serve",
        "--port",
        "0",
        "--storage",
        str(storage),
        *flags,
    ]
    log = storage / "serve.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=checkout,
            env=os.environ | settings | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://" in line, f"the service did not start:\n{log.read_text()[-3000:]}"
            yield line.split()[4].rstrip("/"), psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def commands_below(process: psutil.Process) -> dict[psutil.Process, list[str]]:
    """Its living children, and what each was started with; one that ends meanwhile is none."""
    found = {}
    for child in process.children():
        with contextlib.suppress(
            psutil.Error
        ):  # an ended one that is not buried yet has no command any more
            found[child] = child.cmdline()
    return {child: command for child, command in found.items() if command}


def triton_of(service: psutil.Process) -> psutil.Process:
    """The `tritonserver` that the service runs now."""
    return next(
        child
        for child, command in commands_below(service).items()
        if Path(command[0]).name == "tritonserver"
    )


def stubs_of(service: psutil.Process, model: str) -> list[psutil.Process]:
    """The backend processes of one model."""
    commands = commands_below(triton_of(service))
    return [
        child
        for child, command in commands.items()
        if any(part.endswith(f"/{model}/1/model.py") for part in command)
    ]
