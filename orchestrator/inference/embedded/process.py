"""The server as a process: launch, log tail, and a shutdown that leaves no process behind.

The standard library only; `launch` may run before numpy, gRPC or ONNX Runtime are imported.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from orchestrator.inference.embedded.backend_processes import Stub, kill_stubs, stubs_below
from orchestrator.inference.embedded.environment import (
    BACKENDS,
    MODELS,
    check_temporary_folder,
    find_server,
    prepare_run_folder,
    server_environment,
)
from orchestrator.inference.embedded.run_lock import RunLock, check_shared_memory, sweep_dead_runs

logger = logging.getLogger(__name__)
MAX_LOG_LINES: Final = 200
"""Lines of the server's log that are kept for error messages."""

TABLE_MARKERS: Final = "+|"
"""First characters of the tables of models and options in the log, which explain no fault."""

VERSION_SUFFIXES: Final = frozenset({".onnx", ".py", ".plan"})
"""Suffixes of the files that make a version of a model; an exporter at work has others."""

ENSEMBLE_LINE: Final = 'platform: "ensemble"'
"""Line of a `config.pbtxt` that marks an ensemble.

Found without a parser, whose import takes as long as the server's start.
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports of one server, kept over restarts so that clients reconnect automatically."""

    grpc: int
    metrics: int


def free_ports() -> Ports:
    """Pick two ports that are free now."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return Ports(first.getsockname()[1], second.getsockname()[1])


@dataclass
class ServerProcess:
    """A running `tritonserver` and the tail of its log."""

    popen: subprocess.Popen[bytes]
    server_id: str
    ports: Ports
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_LOG_LINES))
    _seen: set[Stub] = field(default_factory=set)

    @property
    def pid(self) -> int:
        """Process id of the server itself."""
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while the server runs."""
        return self.popen.poll()

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log."""
        return "\n".join(list(self.lines)[-lines:])

    def stubs(self) -> tuple[Stub, ...]:
        """Its backend processes that are alive now."""
        stubs = stubs_below(self.pid)
        self._seen.update(stubs)
        return stubs

    def stubs_of(self, model: str) -> tuple[Stub, ...]:
        """The backend processes of one model."""
        return tuple(stub for stub in self.stubs() if stub.model == model)

    def kill(self) -> None:
        """Kill the server and its backend processes; blocks for some milliseconds.

        A graceful shutdown takes three seconds, one per poll of the server, and never ends with a
        dead backend process. The server holds no state worth the wait. Its backend processes would
        outlive it for a while, stopped ones for ever.
        """
        self.stubs()
        self.popen.kill()
        self.popen.wait()
        kill_stubs(self._seen)


def launch(
    repository: Path, models: Sequence[str], run_lock: RunLock, ports: Ports
) -> ServerProcess:
    """Start a server that loads those of `models` that have their files.

    Call it from a thread that lives as long as the server: the kernel kills the server when that
    thread ends.
    """
    files = find_server()
    folder = run_lock.folder()
    prepare_run_folder(files, repository, folder)
    server_id = uuid.uuid4().hex
    launcher = Path(__file__).with_name("launcher.py")
    command = [sys.executable, "-I", "-S", str(launcher), str(os.getpid()), str(files.server)]
    popen = subprocess.Popen(
        command + _flags(run_lock.prefix, server_id, ports) + _load_flags(repository, models),
        cwd=folder,
        env=server_environment(files),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Ctrl-C goes to the orchestrator alone, which then ends the server
        start_new_session=True,
    )
    server = ServerProcess(popen, server_id, ports)
    assert popen.stdout is not None
    threading.Thread(
        target=_read_log, args=(popen.stdout, server.lines), name="triton log", daemon=True
    ).start()
    return server


@dataclass
class Launched:
    """A server that was started before its supervisor, while the program is still importing."""

    repository: Path
    models: tuple[str, ...]
    run_lock: RunLock
    process: ServerProcess


def launch_early(repository: Path, models: Sequence[str]) -> Launched:
    """Start the server now; pass the result to `EmbeddedTriton`.

    Raises MODEL_LOAD_FAILED where the server cannot run.
    """
    sweep_dead_runs()
    check_shared_memory()
    check_temporary_folder()
    run_lock = RunLock()
    try:
        return Launched(
            repository, tuple(models), run_lock, launch(repository, models, run_lock, free_ports())
        )
    except BaseException:
        run_lock.release()
        raise


def _flags(shm_prefix: str, server_id: str, ports: Ports) -> list[str]:
    return [
        f"--model-repository={MODELS}",
        f"--backend-directory={BACKENDS}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        "--exit-on-error=false",
        "--exit-timeout-secs=3",  # for a shutdown by hand
        f"--id={server_id}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={ports.grpc}",
        # tensors over HTTP cost a hundred times more, and open connections delay the shutdown
        "--allow-http=false",
        "--metrics-address=127.0.0.1",
        f"--metrics-port={ports.metrics}",
        "--allow-gpu-metrics=false",
        "--allow-cpu-metrics=false",
    ]


def _load_flags(repository: Path, models: Sequence[str]) -> list[str]:
    """Options for the models that have their files.

    Loading an ensemble later would reload its members, since Python has written bytecode beside
    them by then.
    """
    return [f"--load-model={name}" for name in models if _is_loadable(repository / name)]


def _is_loadable(folder: Path) -> bool:
    config = folder / "config.pbtxt"
    is_ensemble = config.is_file() and ENSEMBLE_LINE.encode() in config.read_bytes()
    return is_ensemble or any(
        file.suffix in VERSION_SUFFIXES for file in folder.glob("[0-9]*/model.*")
    )


def _read_log(stream: IO[bytes], lines: deque[str]) -> None:
    with stream:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            if line and line[0] not in TABLE_MARKERS:
                lines.append(line)
                logger.debug("%s", line)
