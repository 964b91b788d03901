"""The real service as a child process, and the CPU time of its parts: orchestrator, `tritonserver`,
backend processes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.storage.layout import DEMO_USER

STOP_TIMEOUT_S: Final = 15.0
ORCHESTRATOR: Final = "orchestrator"
MEASURED_ALONE: Final = {"LIPSYNC_FRAME_CACHE_TTL": "0", "LIPSYNC_CAPACITY_PROBE": "0"}
"""Sessions of a benchmark send the same speech: with shared frames it would measure the cache. The
capacity probe would disturb the measurement, and refuse sessions.
"""

UNLIMITED: Final = {
    "LIPSYNC_MAX_CONCURRENT_SESSIONS": "4096",
    "LIPSYNC_MAX_SESSIONS_PER_USER": "4096",
}
"""Limits above any load: the benchmark looks for the machine's limit."""

NOTHING: Final[Mapping[str, str]] = {}

_GREETING: Final = "A face speaks at "
_LOG_TAIL_BYTES: Final = 2000


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """A running service."""

    pid: int
    url: str
    """`http://host:port`."""
    start_s: float
    """Time from its start until it listens, in seconds."""
    token: str
    """Random token of the demo user; the service accepts it beside the configured ones."""


@contextmanager
def running_service(
    arguments: Sequence[str], settings: Mapping[str, str] = NOTHING
) -> Iterator[ServiceProcess]:
    """Run `lipsync serve` on a free port, with `settings` in its environment; stop it at the end.

    It accepts only holders of its token. Raises MODEL_LOAD_FAILED with the end of its log where it
    does not start.
    """
    began, token = time.monotonic(), secrets.token_hex(16)
    command = [sys.executable, "-m", "orchestrator", "serve", "--port", "0", *arguments]
    environment = {
        **os.environ,
        **MEASURED_ALONE,
        **settings,
        "LIPSYNC_AUTH_TOKENS": f"{token}={DEMO_USER}",
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        try:
            assert process.stdout is not None
            url = _url(process.stdout, log)
            yield ServiceProcess(process.pid, url, time.monotonic() - began, token)
        finally:
            _stop(process)


def _url(output: IO[str], log: IO[bytes]) -> str:
    for line in output:
        if line.startswith(_GREETING):
            return line.removeprefix(_GREETING).split("/  ")[0]
    log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
    tail = log.read().decode(errors="replace").strip()
    raise LipSyncError(
        LipSyncErrorCode.MODEL_LOAD_FAILED, f"the service did not start: {tail}", recoverable=False
    )


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def cpu_seconds(pid: int) -> dict[str, float]:
    """CPU seconds so far of each part of the service `pid`: itself, the server, each backend.

    User and system time together, in the kernel's steps of 10 ms.
    """
    import psutil

    root = psutil.Process(pid)
    spent: dict[str, float] = {}
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            part = ORCHESTRATOR if process.pid == pid else _part(process.cmdline())
            times = process.cpu_times()
            spent[part] = spent.get(part, 0.0) + times.user + times.system
    return spent


def _part(command: Sequence[str]) -> str:
    """Name of a process's part.

    The last argument but one of a backend process is `<model>_<group>_<instance>`.
    """
    if command and command[0].endswith("triton_python_backend_stub"):
        return f"backend of {command[-2].rsplit('_', 2)[0]}"
    return "tritonserver" if command and command[0].endswith("tritonserver") else ORCHESTRATOR
